/* squad.c: answers measured as SQuAD's own script (evaluate-v2.0.py) counts them; see evaluation.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/distil_answer.h"
#include "engine/unicode.h"
#include "tools/evaluation.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "weights/json.h"

/* ---- comparing two answers ---- */

/* The words that count of an answer: in lower case, without punctuation, and without a, an and the. */
struct words {
    char *text; /* each ends in a NUL */
    char **each;
    size_t count;
};

static bool is_article(const char *word, size_t length)
{
    return (length == 1 && *word == 'a') || (length == 2 && memcmp(word, "an", 2) == 0) ||
           (length == 3 && memcmp(word, "the", 3) == 0);
}

/* Copies text in lower case without ASCII punctuation; returns the bytes written, at most 4 a byte. */
static size_t simplify(const uint8_t *text, size_t length, uint8_t *out)
{
    size_t used = 0;
    while (length > 0) {
        uint32_t cp, lower[2];
        size_t step = engine_utf8_decode(text, length, &cp);
        if (cp >= 0x80 || !engine_unicode_punctuation(cp))
            for (int i = 0, n = engine_unicode_lower(cp, lower); i < n; i++)
                used += engine_utf8_encode(lower[i], out + used);
        text += step;
        length -= step;
    }
    return used;
}

/* Turns articles into spaces: runs of word characters that are one. */
static void blank_articles(uint8_t *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint32_t cp;
        size_t end = at, step = engine_utf8_decode(text + at, length - at, &cp);
        while (end < length && engine_unicode_word(cp)) {
            end += step;
            if (end < length)
                step = engine_utf8_decode(text + end, length - end, &cp);
        }
        if (is_article((char *)text + at, end - at))
            memset(text + at, ' ', end - at);
        at = end > at ? end : at + step;
    }
}

static bool words_read(struct words *words, const char *text, size_t length)
{
    words->count = 0;
    words->text = malloc(4 * length + 1);
    words->each = malloc((length + 1) * sizeof *words->each);
    if (!words->text || !words->each)
        return false;
    uint8_t *bytes = (uint8_t *)words->text;
    size_t used = simplify((const uint8_t *)text, length, bytes), at = 0;
    bool inside = false;
    blank_articles(bytes, used);
    bytes[used] = 0;
    while (at < used) {
        uint32_t cp;
        size_t step = engine_utf8_decode(bytes + at, used - at, &cp);
        if (engine_unicode_space(cp)) {
            bytes[at] = 0;
            inside = false;
        } else if (!inside) {
            words->each[words->count++] = words->text + at;
            inside = true;
        }
        at += step;
    }
    return true;
}

static void words_free(struct words *words)
{
    free(words->text);
    free(words->each);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Words that both have, each as often as both have it. Sorts them. */
static size_t common(struct words *a, struct words *b)
{
    size_t i = 0, k = 0, both = 0;
    qsort(a->each, a->count, sizeof *a->each, by_bytes);
    qsort(b->each, b->count, sizeof *b->each, by_bytes);
    while (i < a->count && k < b->count) {
        int order = strcmp(a->each[i], b->each[k]);
        both += order == 0;
        i += order <= 0;
        k += order >= 0;
    }
    return both;
}

bool tool_squad_compare(const char *found, size_t found_length, const char *right,
                        size_t right_length, double *exact, double *f1)
{
    struct words a = {0}, b = {0};
    bool fine = words_read(&a, found, found_length) && words_read(&b, right, right_length);
    if (fine) {
        bool same = a.count == b.count;
        for (size_t i = 0; i < a.count && same; i++)
            same = strcmp(a.each[i], b.each[i]) == 0;
        *exact = same;
        *f1 = a.count && b.count ? 2 * (double)common(&a, &b) / (double)(a.count + b.count)
                                 : (double)same;
    }
    words_free(&a);
    words_free(&b);
    return fine;
}

/* ---- the file ---- */

/* Everything a measurement holds. */
struct measuring {
    struct tool_evaluation *evaluation;
    struct tool_squad *squad;
    distil_answer_options options;
    struct tool_progress progress;
    long questions; /* in the file */
    char where[200];
    distil_error *error;
};

static distil_status bad(const struct measuring *run, const char *what)
{
    return distil_fail(run->error, DISTIL_FORMAT, "%s: %s: %s is expected", run->evaluation->data,
                       run->where, what);
}

static const char *text_of(const cJSON *object, const char *field)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, field);
    return cJSON_IsString(value) ? value->valuestring : NULL;
}

static bool is_impossible(const cJSON *question)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(question, "is_impossible"));
}

/* The best match of an answer among the right ones; "" is the right one where there is none. */
static distil_status judge(const struct measuring *run, const cJSON *question,
                           const distil_answer *answer, double *exact, double *f1)
{
    const cJSON *right = cJSON_GetObjectItemCaseSensitive(question, "answers"), *each;
    const bool impossible = is_impossible(question);
    *exact = *f1 = 0;
    if (!impossible && (!cJSON_IsArray(right) || !right->child))
        return bad(run, "a list `answers` with at least one");
    for (each = impossible ? NULL : right->child; each || impossible; each = each->next) {
        const char *text = impossible ? "" : text_of(each, "text");
        double e, f;
        if (!text)
            return bad(run, "`text` in each of `answers`");
        if (!tool_squad_compare(answer->text, answer->length, text, strlen(text), &e, &f))
            return distil_fail(run->error, DISTIL_NO_MEMORY, "no memory for an answer");
        *exact = e > *exact ? e : *exact;
        *f1 = f > *f1 ? f : *f1;
        if (impossible)
            break;
    }
    return DISTIL_OK;
}

static distil_status measure_question(struct measuring *run, const char *context,
                                      const cJSON *question)
{
    struct tool_evaluation *evaluation = run->evaluation;
    struct tool_squad *squad = run->squad;
    const char *text = text_of(question, "question");
    distil_answer answer = {.text = ""};
    int count = 1;
    double exact, f1, began = tool_now();
    if (!text)
        return bad(run, "`question`, a string");
    distil_status status =
        distil_answers(evaluation->session, text, strlen(text), context, strlen(context),
                       &run->options, &answer, &count, run->error);
    evaluation->seconds += tool_now() - began;
    if (status == DISTIL_TOO_LONG)
        return distil_fail(run->error, status, "%s: %s: the question \"%.60s\" is over the window",
                           evaluation->data, run->where, text);
    if (!status)
        status = judge(run, question, &answer, &exact, &f1);
    if (status)
        return status;
    squad->exact += exact;
    squad->f1 += f1;
    if (is_impossible(question)) {
        squad->impossible++;
        squad->impossible_exact += exact;
    } else {
        squad->answerable++;
        squad->answerable_exact += exact;
        squad->answerable_f1 += f1;
    }
    evaluation->rows++;
    tool_progress_update(&run->progress, (size_t)evaluation->rows, (size_t)run->questions,
                         evaluation->rows);
    return DISTIL_OK;
}

/* Calls on_question for every question of the file, in order, naming where it is. */
static distil_status walk(struct measuring *run, const cJSON *root,
                          distil_status (*on_question)(struct measuring *run, const char *context,
                                                       const cJSON *question))
{
    const cJSON *articles = cJSON_GetObjectItemCaseSensitive(root, "data"), *article, *paragraph,
                *question;
    distil_status status = DISTIL_OK;
    int a = 0, p, q;
    snprintf(run->where, sizeof run->where, "data");
    if (!cJSON_IsArray(articles))
        return bad(run, "a list of articles, as in SQuAD's files,");
    for (article = articles->child; article && !status; article = article->next, a++) {
        const cJSON *paragraphs = cJSON_GetObjectItemCaseSensitive(article, "paragraphs");
        p = 0;
        snprintf(run->where, sizeof run->where, "data[%d]", a);
        if (!cJSON_IsArray(paragraphs))
            return bad(run, "a list `paragraphs`");
        for (paragraph = paragraphs->child; paragraph && !status;
             paragraph = paragraph->next, p++) {
            const cJSON *questions = cJSON_GetObjectItemCaseSensitive(paragraph, "qas");
            const char *context = text_of(paragraph, "context");
            q = 0;
            snprintf(run->where, sizeof run->where, "data[%d].paragraphs[%d]", a, p);
            if (!context || !cJSON_IsArray(questions))
                return bad(run, context ? "a list `qas`" : "`context`, a string,");
            for (question = questions->child; question && !status; question = question->next, q++) {
                snprintf(run->where, sizeof run->where, "data[%d].paragraphs[%d].qas[%d]", a, p, q);
                status = on_question(run, context, question);
            }
        }
    }
    return status;
}

static distil_status count_question(struct measuring *run, const char *context,
                                    const cJSON *question)
{
    (void)context;
    run->questions++;
    if (is_impossible(question))
        run->options.handle_impossible_answer = 1;
    return DISTIL_OK;
}

static double share(double sum, long count)
{
    return count ? sum / (double)count : 0;
}

distil_status tool_squad_measure(struct tool_evaluation *evaluation, struct tool_squad *squad,
                                 distil_error *error)
{
    struct measuring run = {.evaluation = evaluation,
                            .squad = squad,
                            .options = distil_answer_defaults(),
                            .error = error};
    cJSON *root;
    distil_status status = weights_json_read(&root, evaluation->data, error);
    if (status)
        return status;
    *squad = (struct tool_squad){0};
    status = walk(&run, root, count_question);
    if (!status && run.questions == 0)
        status = distil_fail(error, DISTIL_FORMAT, "%s: no questions", evaluation->data);
    if (!status) {
        tool_progress_start(&run.progress, "evaluating", "questions", true);
        status = walk(&run, root, measure_question);
        tool_progress_end(&run.progress);
    }
    cJSON_Delete(root);
    squad->exact = share(squad->exact, evaluation->rows);
    squad->f1 = share(squad->f1, evaluation->rows);
    squad->answerable_exact = share(squad->answerable_exact, squad->answerable);
    squad->answerable_f1 = share(squad->answerable_f1, squad->answerable);
    squad->impossible_exact = share(squad->impossible_exact, squad->impossible);
    return status;
}

/* ---- telling ---- */

void tool_squad_write(FILE *out, const struct tool_evaluation *evaluation,
                      const struct tool_squad *squad)
{
    tool_evaluation_head(out, evaluation);
    fputs(",\n  \"exact_match\": ", out);
    tool_json_double(out, squad->exact);
    fputs(",\n  \"f1\": ", out);
    tool_json_double(out, squad->f1);
    fprintf(out, ",\n  \"answerable\": {\"questions\": %ld, \"exact_match\": ", squad->answerable);
    tool_json_double(out, squad->answerable_exact);
    fputs(", \"f1\": ", out);
    tool_json_double(out, squad->answerable_f1);
    fprintf(out, "},\n  \"impossible\": {\"questions\": %ld, \"exact_match\": ", squad->impossible);
    tool_json_double(out, squad->impossible_exact);
    fputs("}\n}\n", out);
}

void tool_squad_print(const struct tool_evaluation *evaluation, const struct tool_squad *squad)
{
    tool_evaluation_line(evaluation, "questions");
    printf("exact match %.4f, F1 %.4f\n", squad->exact, squad->f1);
    if (squad->impossible > 0)
        printf("%ld questions with an answer: exact match %.4f, F1 %.4f\n"
               "%ld without: %.4f left unanswered\n",
               squad->answerable, squad->answerable_exact, squad->answerable_f1, squad->impossible,
               squad->impossible_exact);
}
