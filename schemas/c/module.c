/* The short way through a usage event, compiled: what schemas/usage_event.py does in Python, for the events that nearly
   all traffic consists of. Whatever is not plain is None, and Python finds out what it is; so nothing is refused here.
   tests/unit/test_plain.py holds both equal. */

#include "fetched_record.h"
#include "functions.h"
#include "slice.h"
#include "standing.h"

static int add_all(PyObject *module)
{
    PyMethodDef *functions[] = {event_functions, record_functions, key_functions, fetched_functions};
    for (int i = 0; i < 4; i++)
        if (PyModule_AddFunctions(module, functions[i]) < 0)
            return -1;
    PyTypeObject *types[] = {&StandingType, &SliceType, &RecordType};
    for (int i = 0; i < 3; i++)
        if (PyModule_AddType(module, types[i]) < 0)
            return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_all}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "schemas._plain", .m_size = 0, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__plain(void)
{
    return PyModuleDef_Init(&definition);
}
