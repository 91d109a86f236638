// Python in front of the core, a file per topic: checks every argument, lends the arrays without
// copying them, and releases the GIL while the core runs. Nothing is decided here.
#include "bindings.hpp"
#include "loops.hpp"

NB_MODULE(_native, module) {
  module.doc() = "The native search kernel; vecdb.kernel says what it does.";
  module.attr("DOT") = static_cast<int>(vecdb::Metric::Dot);
  module.attr("L2") = static_cast<int>(vecdb::Metric::L2);
  module.attr("L1") = static_cast<int>(vecdb::Metric::L1);
  module.attr("DIM_MAX") = vecdb::DIM_MAX;
  module.def("instruction_set", [] { return vecdb::loops().name; },
             "Return the name of the instruction set that the loops run with.");
  vecdb::bindings::bind_scan(module);
  vecdb::bindings::bind_graph(module);
  vecdb::bindings::bind_postings(module);
  vecdb::bindings::bind_query(module);
  vecdb::bindings::bind_bitmaps(module);
}
