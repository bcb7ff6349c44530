/* profile.h: whom something is recommended to, as far as the recommender knows: age, gender and
 * occupation, and how they are said in words. */
#ifndef SERVER_PROFILE_H
#define SERVER_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "weights/distil_status.h"

enum {
    SERVER_AGE_MOST = 130, /* years */
    SERVER_AGE_BANDS = 7,
    SERVER_GENDERS = 3,
    SERVER_OCCUPATIONS = 21,
    SERVER_PROFILE_TEXT = 1024, /* bytes of a profile in words, with its NUL */
    SERVER_TEMPLATE_MOST = 512  /* bytes of a template */
};

struct server_profile {
    int age;        /* 0..130 */
    int gender;     /* of server_gender_name */
    int occupation; /* of server_occupation_name */
};

/* Which of the bands that the recommender tells apart an age is in: 0..6, from 0, 18, 25, 35, 45, 50
 * and 56 years on. */
int server_age_band(int age);
/* "M", "F", "O"; NULL outside. */
const char *server_gender_name(int gender);
/* "administrator" ... "writer"; NULL outside. */
const char *server_occupation_name(int occupation);
/* Their numbers; -1 for another name. */
int server_gender_find(const char *name);
int server_occupation_find(const char *name);

/* The template of profiles that none is given for. */
extern const char server_profile_template[];
/* Whether a template is UTF-8 of at most SERVER_TEMPLATE_MOST bytes whose braces all are {age},
 * {gender} or {occupation}. DISTIL_FORMAT says what is wrong. */
distil_status server_template_check(const char *template_text, distil_error *error);
/* Writes a profile in words, as a template that was checked has them: {age} in figures, {gender} as man,
 * woman or person, {occupation} as its name, or as "no occupation" and "another occupation". Cut at
 * size. */
void server_profile_render(const char *template_text, const struct server_profile *profile,
                           char *text, size_t size);

#endif
