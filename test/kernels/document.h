// SPDX-License-Identifier: Apache-2.0
// The table of docs/kernels.md: what was measured, a row for each capability or behaviour, a column for each kernel.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "test/kernels/vm.h"

namespace underpass::kernels {

struct Table {
  std::vector<std::string> rows{};                                    // in their order
  std::map<std::string, std::map<std::string, std::string>> cells{};  // row → kernel → cell
};

// Of one kernel; empty where it could not be had.
Table table_of(const std::string& kernel, const Measured& measured);
// Adds the columns of `more`, and its rows where they are new.
void add(Table& table, const Table& more);

// The table between the marks of a document. Throws where there is none.
Table parse(const std::string& document);
// The document with another table between its marks.
std::string replace(const std::string& document, const Table& table);

// What differs in the columns of `found`, a line each; empty: nothing.
std::string difference(const Table& documented, const Table& found);

}  // namespace underpass::kernels
