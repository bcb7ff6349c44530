/* lbfgs.h: the minimum of a smooth function of many variables, by limited-memory BFGS (Nocedal 1980; Liu and Nocedal 1989). */
#ifndef TOOLS_LBFGS_H
#define TOOLS_LBFGS_H

#include "weights/distil_status.h"

/* The value of the function at x (n), and its gradient (n). */
typedef double tool_lbfgs_function(void *context, const double *x, double *gradient);

struct tool_lbfgs {
    int n;
    tool_lbfgs_function *function;
    void *context;
    double tolerance;   /* ends where no component of the gradient is larger */
    int max_iterations; /* or after so many, or where no step goes down any further */
    /* Results: */
    int iterations;
    double value;
};

/* Moves x (n) from where it stands downhill. DISTIL_NO_MEMORY; DISTIL_NOT_FINITE where the function is not finite at the
 * start. */
distil_status tool_lbfgs_minimise(struct tool_lbfgs *search, double *x, distil_error *error);

#endif
