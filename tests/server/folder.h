/* folder.h: a folder of a test's own. */
#ifndef TESTS_SERVER_FOLDER_H
#define TESTS_SERVER_FOLDER_H

enum { PATH_ROOM = 200 };

/* Make and remove the one folder that a test has at a time; to be its fixture. */
void make_folder(void);
void remove_folder(void);
const char *folder_path(void);
void path_of(const char *name, char path[PATH_ROOM]);

#endif
