/* kernels.c: perf_kernels, which times every kernel of every level that this machine can run, on
 * one thread.
 *
 * A product's figure is one pass over all weights of a model, beside the peak of the level's
 * multiply-add and the rate at which the same memory can be read at all, both measured in the same
 * run.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/perf.h"

static const char usage[] =
    "Usage: perf_kernels [OPTION]...\n"
    "Times every kernel of every level on one thread.\n"
    "\n"
    "  --json         one JSON object a figure\n"
    "  --model NAME   only this model of the shapes\n"
    "  --level NAME   only this level\n"
    "  --rows LIST    rows of the products (1,4,8,16,32,64,128,512)\n"
    "  --tokens LIST  rows of everything else (1,16,128,512)\n"
    "  --seconds S    spent on each figure (0.2)\n"
    "  --shapes FILE  lines of: name layers hidden feed-forward heads\n"
    "\n"
    "A row of the first tables is one pass over all products of a model:\n"
    "  ms, least      median and least of the passes\n"
    "  Gop/s          of the median; peak, best: median and least as shares of the peak\n"
    "  GB/s, read     weights a second, and as a share of reading the same memory\n";

/* Reads "name layers hidden feed-forward heads" lines. Returns 0, or -1 after a message. */
static int read_models(struct perf_settings *settings, const char *path, const char *only)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        return -1;
    }
    char line[256];
    while (settings->model_count < PERF_MODELS_MAX && fgets(line, sizeof line, file)) {
        struct perf_model *model = &settings->models[settings->model_count];
        if (line[0] == '#' || sscanf(line, "%31s %ld %ld %ld %ld", model->name, &model->layers,
                                     &model->hidden, &model->feed_forward, &model->heads) != 5)
            continue;
        if (model->layers < 1 || model->heads < 1 || model->hidden < KERN_PANEL ||
            model->hidden % KERN_PANEL || model->feed_forward < KERN_PANEL ||
            model->feed_forward % KERN_PANEL || model->hidden % model->heads) {
            fprintf(stderr, "%s: not a shape that can be timed: %s", path, line);
            fclose(file);
            return -1;
        }
        if (!only || strcmp(only, model->name) == 0)
            settings->model_count++;
    }
    fclose(file);
    if (settings->model_count == 0) {
        fprintf(stderr, "%s: no model%s%s\n", path, only ? " named " : "", only ? only : "");
        return -1;
    }
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

/* Reads numbers with commas between them, in ascending order. Returns how many, or -1 after a
 * message. */
static int read_numbers(long numbers[PERF_ROWS_MAX], const char *text)
{
    int count = 0;
    while (*text) {
        char *end;
        long number = strtol(text, &end, 10);
        if (end == text || (*end != ',' && *end != '\0') || number < 1 || number > 65536 ||
            count == PERF_ROWS_MAX) {
            fprintf(stderr, "not 1 to %d numbers from 1 to 65536 with commas between: %s\n",
                    PERF_ROWS_MAX, text);
            return -1;
        }
        numbers[count++] = number;
        text = *end ? end + 1 : end;
    }
    qsort(numbers, (size_t)count, sizeof numbers[0], compare_numbers);
    return count;
}

static int read_settings(struct perf_settings *settings, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"model", required_argument, NULL, 'm'},
                                            {"level", required_argument, NULL, 'l'},
                                            {"rows", required_argument, NULL, 'r'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"shapes", required_argument, NULL, 'f'},
                                            {"tokens", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *rows = "1,4,8,16,32,64,128,512", *tokens = "1,16,128,512", *shapes = PERF_SHAPES,
               *model = NULL, *seconds = "0.2";
    char *end;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'j')
            settings->json = true;
        else if (option == 'm')
            model = optarg;
        else if (option == 'l')
            settings->level = optarg;
        else if (option == 'r')
            rows = optarg;
        else if (option == 't')
            tokens = optarg;
        else if (option == 's')
            seconds = optarg;
        else if (option == 'f')
            shapes = optarg;
        else {
            fputs(usage, option == 'h' ? stdout : stderr);
            exit(option == 'h' ? 0 : 2);
        }
    }
    if (settings->level && !kern_level_available(kern_level_from_name(settings->level))) {
        fprintf(stderr, "level %s is not one that this machine has\n", settings->level);
        return -1;
    }
    settings->seconds = strtod(seconds, &end);
    if (end == seconds || *end || !(settings->seconds >= 0 && settings->seconds <= 3600)) {
        fprintf(stderr, "not seconds from 0 to 3600: %s\n", seconds);
        return -1;
    }
    settings->row_count = read_numbers(settings->rows, rows);
    settings->token_count = read_numbers(settings->tokens, tokens);
    if (settings->row_count < 1 || settings->token_count < 1)
        return -1;
    return read_models(settings, shapes, model);
}

int main(int argc, char **argv)
{
    struct perf_settings settings = {.level = NULL};
    if (read_settings(&settings, argc, argv))
        return 2;
    for (int i = 0; i < settings.model_count; i++)
        for (int level = 0; level < KERN_LEVELS; level++) {
            if (!kern_level_available((enum kern_level)level) ||
                (settings.level &&
                 strcmp(settings.level, kern_level_name((enum kern_level)level)) != 0))
                continue;
            perf_products(&settings, &settings.models[i], (enum kern_level)level);
            perf_parts(&settings, &settings.models[i], (enum kern_level)level);
        }
    return 0;
}
