// SPDX-License-Identifier: Apache-2.0
// `--source dir:PATH`: the Kubernetes objects of a folder's *.yaml files, not read recursively, hidden files left out.
// Changes are seen by inotify, whichever way they are made: written in place, renamed over the old file, swapped by a
// symbolic link (as kubelet does with ConfigMaps), the whole folder replaced. A file in the middle of being written is
// left alone until its writer closes it. When the folder goes, all it had is kept and the contents say so; when it
// comes back it is read again. A link that points out of the folder is followed, but only changes of the folder itself
// are announced: what is edited behind the link is seen at the folder's next change.
#pragma once

#include <filesystem>
#include <memory>

#include "agent/k8s/source.h"
#include "underpass/result.h"

namespace boost::asio {
class io_context;
}

namespace underpass::k8s {

class DirSource : public Source {
 public:
  // Fails if `path` is not a folder that can be read and watched. `io` outlives the source.
  static Result<std::unique_ptr<DirSource>> open(boost::asio::io_context& io, std::filesystem::path path,
                                                 Listener listener);
  ~DirSource() override;

  // Reads the folder and tells the listener before it returns.
  void start() override;

 private:
  class Watch;
  explicit DirSource(std::shared_ptr<Watch> watch);

  std::shared_ptr<Watch> watch_;
};

}  // namespace underpass::k8s
