/* directories.h: two directories that every test of a file begins with, one to convert from and one to write to. */
#ifndef TESTS_WEIGHTS_DIRECTORIES_H
#define TESTS_WEIGHTS_DIRECTORIES_H

extern char *source, *output;

/* Make them, empty, and delete them with all that is in them: a checked fixture. */
void directories_make(void);
void directories_remove(void);

#endif
