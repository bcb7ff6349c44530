#include "tools/evaluation.h"

#include "tools/output.h"

void tool_evaluation_head(FILE *out, const struct tool_evaluation *evaluation)
{
    const distil_info *info = evaluation->info;
    fputs("{\n  \"data\": ", out);
    tool_json_string(out, evaluation->data);
    fputs(",\n  \"model\": ", out);
    tool_json_string(out, info->path);
    fprintf(out, ",\n  \"digest\": \"%s\",\n  \"distild\": \"" DISTILD_VERSION "\"", info->digest);
    fprintf(out, ",\n  \"precision\": \"%s\",\n  \"cpu\": \"%s\",\n  \"threads\": %d",
            info->precision, info->cpu, distil_session_threads(evaluation->session));
    fprintf(out,
            ",\n  \"rows\": %ld,\n  \"truncated\": %ld,\n  \"seconds\": %.4f,\n  "
            "\"%s_per_second\": %.1f",
            evaluation->rows, evaluation->truncated, evaluation->seconds,
            info->task == DISTIL_TASK_ANSWER ? "questions"
            : info->task == DISTIL_TASK_NONE ? "pairs"
                                             : "texts",
            (double)evaluation->rows / evaluation->seconds);
}

void tool_evaluation_line(const struct tool_evaluation *evaluation, const char *things)
{
    printf("%ld %s in %.2f s (%.0f/s), %s on %s, %d threads\n", evaluation->rows, things,
           evaluation->seconds, (double)evaluation->rows / evaluation->seconds,
           evaluation->info->precision, evaluation->info->cpu,
           distil_session_threads(evaluation->session));
}
