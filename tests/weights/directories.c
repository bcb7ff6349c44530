/* directories.c: see directories.h. */
#include "directories.h"

#include "fixture.h"

char *source, *output;

void directories_make(void)
{
    source = fixture_directory();
    output = fixture_directory();
}

void directories_remove(void)
{
    fixture_remove(source);
    fixture_remove(output);
}
