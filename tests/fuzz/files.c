/* fuzz_files FORMAT|all COUNT [SEED]: reads COUNT files of a format that are nearly right. A reader may refuse them, and say
 * why; it must not crash, hang, leak or touch memory that is not its own, which builds with sanitizers show.
 *
 *   fuzz_files FORMAT --file FILE    reads one file: that of TMPDIR/distild-fuzz-*, where a run that ended badly has left it */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/formats.h"
#include "tests/fuzz/mutate.h"

enum { PROGRESS = 20000 };

static FILE *say; /* standard error, which readers do not write to meanwhile */

static void die(const char *what, const char *which)
{
    fprintf(say, "fuzz_files: %s: %s\n", which, what);
    exit(1);
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "w");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file))
        die("cannot be written", path);
}

static void read_file(const char *path, struct fuzz_input *input)
{
    static char bytes[FUZZ_ROOM];
    FILE *file = fopen(path, "r");
    if (!file)
        die("cannot be opened", path);
    fuzz_set(input, bytes, fread(bytes, 1, sizeof bytes, file));
    fclose(file);
}

static void remove_folder(const char *folder)
{
    char path[FUZZ_PATH];
    DIR *listing = opendir(folder);
    if (!listing)
        return;
    for (struct dirent *entry; (entry = readdir(listing));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    closedir(listing);
    rmdir(folder);
}

static void run(const struct fuzz_format *format, long count, uint64_t seed)
{
    static struct fuzz_input valid, input;
    char folder[FUZZ_PATH / 2], path[FUZZ_PATH];
    const char *base = getenv("TMPDIR");
    long accepted = 0;
    snprintf(folder, sizeof folder, "%s/distild-fuzz-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder))
        die("no folder can be made", folder);
    format->make(folder);
    snprintf(path, sizeof path, "%s/%s", folder, format->file);
    read_file(path, &valid);
    if (!format->read(folder))
        die("what is right is not accepted", format->name);
    for (long i = 0; i < count; i++) {
        input = valid;
        fuzz_mutate(&input, &seed);
        write_file(path, input.bytes, input.length);
        fuzz_watch();
        accepted += format->read(folder);
        if ((i + 1) % PROGRESS == 0)
            fprintf(say, "%s: %ld of %ld\n", format->name, i + 1, count);
    }
    fprintf(say, "%s: %ld files, of which %ld were accepted\n", format->name, count, accepted);
    remove_folder(folder);
}

/* Reads a file in the place of a valid one. */
static void read_one(const struct fuzz_format *format, const char *path)
{
    static struct fuzz_input input;
    char folder[] = "/tmp/distild-fuzz-XXXXXX", place[FUZZ_PATH];
    read_file(path, &input);
    if (!mkdtemp(folder))
        die("no folder can be made", folder);
    format->make(folder);
    snprintf(place, sizeof place, "%s/%s", folder, format->file);
    write_file(place, input.bytes, input.length);
    fprintf(say, "%s: %s\n", path, format->read(folder) ? "accepted" : "refused");
    remove_folder(folder);
}

int main(int argc, char **argv)
{
    bool one = argc == 4 && strcmp(argv[2], "--file") == 0, found = false;
    long count = argc > 2 && !one ? strtol(argv[2], NULL, 10) : 0;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    int formats;
    const struct fuzz_format *format = fuzz_formats(&formats);
    say = stderr;
    /* what commands print of each file */
    stdout = fopen("/dev/null", "w");
    stderr = stdout ? stdout : stderr;
    for (int i = 0; i < formats && (one || count > 0); i++, format++) {
        if (strcmp(argv[1], format->name) != 0 && (one || strcmp(argv[1], "all") != 0))
            continue;
        found = true;
        if (one)
            read_one(format, argv[3]);
        else
            run(format, count, seed);
    }
    if (found)
        return 0;
    fprintf(say, "usage: fuzz_files FORMAT|all COUNT [SEED]\n       fuzz_files FORMAT --file "
                 "FILE\nformats:");
    for (format = fuzz_formats(&formats); formats > 0; formats--, format++)
        fprintf(say, " %s", format->name);
    fputc('\n', say);
    return 2;
}
