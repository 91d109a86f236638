// Stored points on the wire, as hits or as points: from records (FORMAT.md) to messages
// (search.proto, common.proto), with no object in between. hits.cpp is the one file that knows both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vecdb {

struct HitSpace {
  std::uint16_t number;
  std::string name;
  bool sparse;
  std::uint32_t multi_dim;  // of each of several vectors a point; 0 where it has one
};

// Which parts of a point a hit carries besides id and version.
struct HitParts {
  bool payload;
  bool vectors;
  bool texts;
  // A Point, of what both messages have, in place of a Hit.
  bool as_point;
  // The spaces by number. Read for vectors and texts alone.
  std::vector<HitSpace> spaces;
};

// What each leg of a query said of one hit. ranks: from 1, 0 for a leg that did not find it.
struct HitLegs {
  const std::uint32_t* ranks = nullptr;
  const float* scores = nullptr;
  std::size_t count = 0;
};

// Append field 1 of a QueryResponse or a ListPointsResponse, a Hit or a Point, for the point that a
// sealed record of a slot holds. payload: what stands in place of the record's own, if not null.
// more: further fields of the Hit, as the wire has them.
// Return false, with nothing appended, when the record fails its checksum or does not hold
// together.
bool append_hit(std::uint64_t slot, std::string_view sealed, float score, float distance,
                const HitLegs& legs, const HitParts& parts, const std::string_view* payload,
                std::string_view more, std::string& out);

}  // namespace vecdb
