// Search over postings, as Python calls it; the GIL is released while the core runs.
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "bindings.hpp"
#include "postings.hpp"

namespace vecdb::bindings {

namespace {

// The lists of a query, and the view of them that the core reads.
class ListArrays {
 public:
  ListArrays(nb::handle rows, nb::handle starts, nb::handle stops, nb::handle weights)
      : rows_("rows", rows, UINT32, 1),
        starts_("starts", starts, UINT64, 1),
        stops_("stops", stops, UINT64, 1),
        weights_("weights", weights, FLOAT32, 1) {
    const std::uint64_t count = starts_.shape()[0];
    stops_.expect_shape({count});
    weights_.expect_shape({count});
    lists_ = {rows_.values<std::uint32_t>(), starts_.values<std::uint64_t>(),
              stops_.values<std::uint64_t>(), weights_.values<float>(), count};
    for (std::uint64_t list = 0; list < count; ++list) {
      if (lists_.starts[list] > lists_.stops[list] || lists_.stops[list] > postings()) {
        raise_value("starts, stops: list " + std::to_string(list) + " is no part of " +
                    std::to_string(postings()) + " postings");
      }
    }
  }

  std::uint64_t postings() const { return rows_.shape()[0]; }
  const vecdb::Lists& lists() const { return lists_; }

 private:
  Array rows_;
  Array starts_;
  Array stops_;
  Array weights_;
  vecdb::Lists lists_{};
};

std::uint32_t checked_rows(const char* name, std::uint64_t n) {
  if (n > std::numeric_limits<std::uint32_t>::max()) {
    raise_value(std::string(name) + ": expected fewer than 2**32 rows, got " + std::to_string(n));
  }
  return static_cast<std::uint32_t>(n);
}

nb::tuple search_text(nb::handle rows, nb::handle counts, nb::handle lengths, nb::handle starts,
                      nb::handle stops, nb::handle fields, nb::handle weights, nb::handle norms,
                      nb::handle k, nb::handle allowed) {
  const ListArrays lists(rows, starts, stops, weights);
  const Array counts_array("counts", counts, UINT32, 1);
  counts_array.expect_shape({lists.postings()});
  const Array lengths_array("lengths", lengths, UINT32, 2);
  const std::uint64_t field_count = lengths_array.shape()[0];
  const std::uint32_t n = checked_rows("lengths", lengths_array.shape()[1]);
  const Array fields_array("fields", fields, UINT32, 1);
  fields_array.expect_shape({lists.lists().count});
  const auto* field = fields_array.values<std::uint32_t>();
  for (std::size_t list = 0; list < lists.lists().count; ++list) {
    if (field[list] >= field_count) {
      raise_value("fields: expected 0 to " + std::to_string(field_count) + " exclusive, got " +
                  std::to_string(field[list]));
    }
  }
  const Array norms_array("norms", norms, FLOAT32, 2);
  norms_array.expect_shape({field_count, 2});
  const std::size_t limit = positive("k", k);
  const Allowed admitted(allowed, n);
  std::vector<vecdb::Neighbor> found;
  {
    nb::gil_scoped_release released;
    found = vecdb::search_text(lists.lists(),
                               {counts_array.values<std::uint32_t>(),
                                lengths_array.values<std::uint32_t>(), field,
                                norms_array.values<float>()},
                               n, limit, admitted.bitmap());
  }
  return as_arrays(found);
}

nb::tuple search_sparse(nb::handle n, nb::handle rows, nb::handle values, nb::handle starts,
                        nb::handle stops, nb::handle weights, nb::handle k, nb::handle allowed) {
  const std::int64_t size = integer("n", n);
  if (size < 0) raise_value("n: expected at least 0, got " + std::to_string(size));
  const std::uint32_t count = checked_rows("n", static_cast<std::uint64_t>(size));
  const ListArrays lists(rows, starts, stops, weights);
  const Array values_array("values", values, FLOAT32, 1);
  values_array.expect_shape({lists.postings()});
  const std::size_t limit = positive("k", k);
  const Allowed admitted(allowed, count);
  std::vector<vecdb::Neighbor> found;
  {
    nb::gil_scoped_release released;
    found = vecdb::search_sparse(lists.lists(), values_array.values<float>(), count, limit,
                                 admitted.bitmap());
  }
  return as_arrays(found);
}

}  // namespace

void bind_postings(nb::module_& module) {
  module.def("search_text", &search_text, arg("rows"), arg("counts"), arg("lengths"), arg("starts"),
             arg("stops"), arg("fields"), arg("weights"), arg("norms"), arg("k"), arg("allowed"),
             "Return the rows and scores of the best k rows by BM25, best first.");
  module.def("search_sparse", &search_sparse, arg("n"), arg("rows"), arg("values"), arg("starts"),
             arg("stops"), arg("weights"), arg("k"), arg("allowed"),
             "Return the rows and scores of the best k rows by sparse dot product, best first.");
}

}  // namespace vecdb::bindings
