/* projection.h: a vector of the model in a few numbers, to see by whether its inputs change. */
#ifndef SERVER_PROJECTION_H
#define SERVER_PROJECTION_H

enum { SERVER_PROJECTION = 16 };

/* A random projection that is always the same one: sums of the n values with signs that depend on their
 * places alone, over the root of n. Distances between vectors are kept as far as so few numbers can. */
void server_project(const float *vector, int n, float projection[SERVER_PROJECTION]);

#endif
