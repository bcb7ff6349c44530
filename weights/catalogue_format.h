/* catalogue_format.h: what reading and writing a catalogue file share. */
#ifndef WEIGHTS_CATALOGUE_FORMAT_H
#define WEIGHTS_CATALOGUE_FORMAT_H

#include "weights/catalogue.h"

#define WEIGHTS_CATALOGUE_FORMAT "distild-catalogue"
#define WEIGHTS_KEY_CATALOGUE_VERSION "distild.catalogue_version"
#define WEIGHTS_KEY_ENCODER "distild.encoder"
#define WEIGHTS_KEY_WIDTH "distild.width"
#define WEIGHTS_KEY_COLUMNS "distild.columns"

enum { WEIGHTS_CATALOGUE_MAJOR = 1, WEIGHTS_ROW_ALIGN = 64 /* bytes */ };

/* Values from one stored vector to the next. */
static inline long weights_catalogue_stride(int width, size_t value_bytes)
{
    const long step = (long)(WEIGHTS_ROW_ALIGN / value_bytes);
    return (width + step - 1) / step * step;
}

#endif
