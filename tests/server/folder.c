/* folder.c: see folder.h. */
#include "tests/server/folder.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static char folder[64];

void make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/distild-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

void remove_folder(void)
{
    char command[PATH_ROOM];
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): a test's own folder */
}

const char *folder_path(void)
{
    return folder;
}

void path_of(const char *name, char path[PATH_ROOM])
{
    snprintf(path, PATH_ROOM, "%s/%s", folder, name);
}
