/* drift_projection.h: embeddings made short enough to keep with every prediction. */
#ifndef SERVER_DRIFT_PROJECTION_H
#define SERVER_DRIFT_PROJECTION_H

/* Numbers of a projection: another count than SERVER_PROJECTION of what a head read, so that the one
 * is never compared with the other. */
enum { SERVER_DRIFT_PROJECTION = 24 };

/* Multiplies an embedding (hidden) by a fixed matrix of numbers drawn from the normal distribution, the
 * same for every embedding of a width: what distances and angles there are between embeddings stays
 * about as it was (Johnson and Lindenstrauss, 1984). */
void server_drift_project(const float *embedding, int hidden,
                          float projection[SERVER_DRIFT_PROJECTION]);

#endif
