/* Many plain events at once; see slice.c. */

#ifndef TALLY_SLICE_H
#define TALLY_SLICE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyTypeObject SliceType;

#endif
