// fs/glob_braces.hpp: `{a,b}` and `{1..3}` written out, by the rules of bash as minimatch has them. Private to fs.
// Bounded: what would make too many or too long patterns is refused.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace weir::fs::detail {

/// The patterns that `text` stands for, in order; itself if there is nothing to expand.
/// @param escapes a backslash takes the meaning from the character behind it
/// @param max most patterns that may come of it
/// @throws weir::error ERR_INVALID_ARG_VALUE beyond `max`, braces more than 100 deep, or megabytes of text
std::vector<std::string> expand_braces(std::string_view text, bool escapes, std::size_t max);

}  // namespace weir::fs::detail
