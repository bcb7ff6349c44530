/* profile.c: see profile.h. */
#include "server/profile.h"

#include <stdio.h>
#include <string.h>

static const char *const genders[SERVER_GENDERS] = {"M", "F", "O"};
static const char *const gender_words[SERVER_GENDERS] = {"man", "woman", "person"};

static const char *const occupations[SERVER_OCCUPATIONS] = {
    "administrator", "artist",     "doctor",     "educator", "engineer",  "entertainment",
    "executive",     "healthcare", "homemaker",  "lawyer",   "librarian", "marketing",
    "none",          "other",      "programmer", "retired",  "salesman",  "scientist",
    "student",       "technician", "writer"};

const char server_profile_template[] =
    "Recommended to a {gender} of {age} years, occupation: {occupation}.";

int server_age_band(int age)
{
    static const int from[SERVER_AGE_BANDS] = {0, 18, 25, 35, 45, 50, 56};
    int band = SERVER_AGE_BANDS - 1;
    while (band > 0 && age < from[band])
        band--;
    return band;
}

const char *server_gender_name(int gender)
{
    return gender >= 0 && gender < SERVER_GENDERS ? genders[gender] : NULL;
}

const char *server_occupation_name(int occupation)
{
    return occupation >= 0 && occupation < SERVER_OCCUPATIONS ? occupations[occupation] : NULL;
}

static int find(const char *const *names, int count, const char *name)
{
    int i;
    for (i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

int server_gender_find(const char *name)
{
    return find(genders, SERVER_GENDERS, name);
}

int server_occupation_find(const char *name)
{
    return find(occupations, SERVER_OCCUPATIONS, name);
}

/* ---- templates ---- */

enum field { FIELD_AGE, FIELD_GENDER, FIELD_OCCUPATION, FIELDS };

static const char *const field_names[FIELDS] = {"{age}", "{gender}", "{occupation}"};

/* Which field a text begins with; FIELDS for none. */
static enum field field_at(const char *text)
{
    int i;
    for (i = 0; i < FIELDS; i++)
        if (strncmp(text, field_names[i], strlen(field_names[i])) == 0)
            break;
    return (enum field)i;
}

distil_status server_template_check(const char *template_text, distil_error *error)
{
    size_t length = strlen(template_text), i;
    if (length == 0 || length > SERVER_TEMPLATE_MOST)
        return distil_fail(error, DISTIL_FORMAT, "a template has from 1 to %d bytes, not %zu",
                           SERVER_TEMPLATE_MOST, length);
    for (i = 0; i < length; i++) {
        enum field field = field_at(template_text + i);
        if (field < FIELDS)
            i += strlen(field_names[field]) - 1;
        else if (template_text[i] == '{' || template_text[i] == '}')
            return distil_fail(error, DISTIL_FORMAT,
                               "a brace at byte %zu belongs to none of {age}, {gender} and "
                               "{occupation}",
                               i);
    }
    return DISTIL_OK;
}

static const char *occupation_words(int occupation)
{
    const char *name = server_occupation_name(occupation);
    if (strcmp(name, "none") == 0)
        return "no occupation";
    return strcmp(name, "other") == 0 ? "another occupation" : name;
}

void server_profile_render(const char *template_text, const struct server_profile *profile,
                           char *text, size_t size)
{
    size_t used = 0;
    char age[16];
    const char *words[FIELDS] = {age, gender_words[profile->gender],
                                 occupation_words(profile->occupation)};
    snprintf(age, sizeof(age), "%d", profile->age);
    while (*template_text && used + 1 < size) {
        enum field field = field_at(template_text);
        int written;
        if (field == FIELDS) {
            text[used++] = *template_text++;
            continue;
        }
        written = snprintf(text + used, size - used, "%s", words[field]);
        used += (size_t)written < size - used ? (size_t)written : size - used - 1;
        template_text += strlen(field_names[field]);
    }
    text[used] = '\0';
}
