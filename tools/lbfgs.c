#include "tools/lbfgs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MEMORY = 10, /* steps that the curvature is known from */
    MOST_TRIALS = 30
};

static const double sufficient = 1e-4; /* of the decrease that the slope promises */

struct state {
    int n, kept, next;
    double *gradient, *trial, *trial_gradient, *direction; /* (n) */
    double *step[MEMORY], *change[MEMORY];                 /* (n): of x, and of the gradient */
    double curvature[MEMORY];                              /* step . change */
    double *block;
};

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void add(double *y, double factor, const double *x, int n)
{
    for (int i = 0; i < n; i++)
        y[i] += factor * x[i];
}

static double largest(const double *x, int n)
{
    double most = 0;
    for (int i = 0; i < n; i++)
        most = fabs(x[i]) > most ? fabs(x[i]) : most;
    return most;
}

static int allocate(struct state *state, int n)
{
    *state = (struct state){.n = n};
    state->block = calloc((size_t)n * (4 + 2 * MEMORY), sizeof *state->block);
    if (!state->block)
        return 0;
    double *at = state->block;
    double **const pieces[] = {&state->gradient, &state->trial, &state->trial_gradient,
                               &state->direction};
    for (int i = 0; i < 4; i++, at += n)
        *pieces[i] = at;
    for (int i = 0; i < MEMORY; i++, at += 2 * (size_t)n) {
        state->step[i] = at;
        state->change[i] = at + n;
    }
    return 1;
}

/* direction = -H gradient, with H the inverse curvature that the kept steps tell: the two-loop recursion. */
static void choose_direction(struct state *state)
{
    double factor[MEMORY];
    double *d = state->direction;
    const int n = state->n;
    for (int i = 0; i < n; i++)
        d[i] = -state->gradient[i];
    for (int k = 0; k < state->kept; k++) {
        const int i = (state->next - 1 - k + 2 * MEMORY) % MEMORY;
        factor[i] = dot(state->step[i], d, n) / state->curvature[i];
        add(d, -factor[i], state->change[i], n);
    }
    if (state->kept > 0) {
        const int last = (state->next - 1 + MEMORY) % MEMORY;
        const double scale =
            state->curvature[last] / dot(state->change[last], state->change[last], n);
        for (int i = 0; i < n; i++)
            d[i] *= scale;
    }
    for (int k = state->kept - 1; k >= 0; k--) {
        const int i = (state->next - 1 - k + 2 * MEMORY) % MEMORY;
        add(d, factor[i] - dot(state->change[i], d, n) / state->curvature[i], state->step[i], n);
    }
}

/* Keeps the step from x to the trial, unless it says nothing of the curvature. */
static void remember(struct state *state, const double *x)
{
    const int n = state->n, at = state->next;
    for (int i = 0; i < n; i++) {
        state->step[at][i] = state->trial[i] - x[i];
        state->change[at][i] = state->trial_gradient[i] - state->gradient[i];
    }
    state->curvature[at] = dot(state->step[at], state->change[at], n);
    if (!(state->curvature[at] > 1e-10 * dot(state->change[at], state->change[at], n)))
        return;
    state->next = (at + 1) % MEMORY;
    state->kept += state->kept < MEMORY;
}

/* A step along the direction that goes down far enough; 0 where none does. */
static int search_line(const struct tool_lbfgs *search, struct state *state, const double *x,
                       double value, double slope, double step, double *found)
{
    for (int trial = 0; trial < MOST_TRIALS; trial++) {
        memcpy(state->trial, x, (size_t)state->n * sizeof *x);
        add(state->trial, step, state->direction, state->n);
        *found = search->function(search->context, state->trial, state->trial_gradient);
        if (*found <= value + sufficient * step * slope)
            return 1;
        /* The minimum of the parabola through what is known, within reason. */
        const double parabola = -slope * step * step / (2 * (*found - value - slope * step));
        step = parabola > 0.1 * step && parabola < 0.5 * step ? parabola : 0.3 * step;
    }
    return 0;
}

distil_status tool_lbfgs_minimise(struct tool_lbfgs *search, double *x, distil_error *error)
{
    const int n = search->n;
    struct state state;
    search->iterations = 0;
    if (!allocate(&state, n))
        return distil_fail(error, DISTIL_NO_MEMORY, "no memory to fit %d numbers", n);
    double value = search->function(search->context, x, state.gradient);
    while (isfinite(value) && search->iterations < search->max_iterations &&
           largest(state.gradient, n) > search->tolerance) {
        choose_direction(&state);
        double slope = dot(state.direction, state.gradient, n), found;
        if (!(slope < 0)) { /* what is remembered has gone stale */
            state.kept = 0;
            choose_direction(&state);
            slope = dot(state.direction, state.gradient, n);
        }
        const double step = state.kept > 0 ? 1 : 1 / fmax(1, sqrt(-slope));
        if (!search_line(search, &state, x, value, slope, step, &found))
            break;
        remember(&state, x);
        memcpy(x, state.trial, (size_t)n * sizeof *x);
        memcpy(state.gradient, state.trial_gradient, (size_t)n * sizeof *x);
        value = found;
        search->iterations++;
    }
    search->value = value;
    free(state.block);
    if (!isfinite(value))
        return distil_fail(error, DISTIL_NOT_FINITE, "the loss is not finite");
    return DISTIL_OK;
}
