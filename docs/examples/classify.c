/* classify.c: labels each argument with the bundled model, or with the one that DISTILD_MODEL names.
 *
 *   cc classify.c $(pkg-config --cflags --libs distil) -o classify && ./classify "a charming journey" */
#include <distil.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    distil_model *model = NULL;
    distil_session *session = NULL;
    distil_error error = {DISTIL_OK, ""};
    distil_prediction found;

    if (!distil_model_open(NULL, NULL, &model, &error))
        distil_session_create(model, 0, &session, &error);
    for (int i = 1; session && i < argc; i++) {
        const char *text = argv[i];
        if (!distil_predict(session, &text, 1, &found, &error))
            printf("%s\t%.4f\t%s\n", distil_label(model, found.label), found.score, text);
    }
    if (error.code)
        fprintf(stderr, "classify: %s\n", error.message);
    distil_session_free(session);
    distil_model_free(model);
    return error.code != DISTIL_OK;
}
