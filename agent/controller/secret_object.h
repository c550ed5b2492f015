// SPDX-License-Identifier: Apache-2.0
// The Secret that holds the authority, and the ConfigMap that says whom to believe, as objects of the API server. Pure.
#pragma once

#include <boost/json/value.hpp>
#include <optional>
#include <string>

#include "agent/ca/authority_files.h"
#include "underpass/ids.h"
#include "underpass/result.h"

namespace underpass::controller {

// By which an operator asks for a new root; taken off again when it is begun.
inline constexpr const char* kRotateRoot = "underpass.dev/rotate-root";

struct AuthoritySecret {
  ca::Files files;
  bool rotate = false;  // it has the annotation
};

// Keys of other names are left alone. An error names the key.
Result<AuthoritySecret> decode_secret(const boost::json::value& object);
// `object` with these files, and without the annotation; null: a new one. Keeps the resourceVersion, so that a write
// that lost a race is refused.
boost::json::value encode_secret(const boost::json::value& object, const NamespacedName& id, const ca::Files& files);

// What is to be written so that the ConfigMap says this; nothing: it does. `object` null: there is none.
std::optional<boost::json::value> encode_bundle(const boost::json::value& object, const NamespacedName& id,
                                                const std::string& bundle);

}  // namespace underpass::controller
