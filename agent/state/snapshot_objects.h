// SPDX-License-Identifier: Apache-2.0
// The objects of a snapshot by kind and name, whatever map of it they are in.
#pragma once

#include "agent/k8s/contents.h"
#include "agent/state/store.h"
#include "underpass/model/objects.h"

namespace underpass::state {

[[nodiscard]] bool contains(const model::Snapshot& snapshot, const ObjectKey& key);
// The very object, or one that is equal to it: shared objects stay the same where nothing changed.
[[nodiscard]] bool holds(const model::Snapshot& snapshot, const ObjectKey& key, const k8s::Object& object);
void put(model::Snapshot& snapshot, const ObjectKey& key, const k8s::Object& object);
void remove(model::Snapshot& snapshot, const ObjectKey& key);
// That the object is another than before, or that what is wrong with its text is.
void note(const ObjectKey& key, model::Changes& changes);
void note_problem(const ObjectKey& key, model::Changes& changes);

}  // namespace underpass::state
