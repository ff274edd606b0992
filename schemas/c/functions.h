/* What the functions of the module share, and where each file says which it has. */

#ifndef TALLY_FUNCTIONS_H
#define TALLY_FUNCTIONS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyMethodDef event_functions[], record_functions[], key_functions[], fetched_functions[];

/* What is not plain; NULL where an exception is set. */
static inline PyObject *none(void)
{
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static inline int takes(Py_ssize_t count, int expected, const char *message)
{
    if (count == expected)
        return 1;
    PyErr_SetString(PyExc_TypeError, message);
    return 0;
}

#endif
