#!/usr/bin/env bash
# install.sh [TREE]: the two Slurms that the tests run on, installed once and left alone afterwards.
# The machine's own (Debian's packages) and, unpacked under TREE, the next Debian release's Slurm 24.11: made to run here by
# pointing its programs at TREE's own C library, so that neither a chroot nor the machine's package state is touched.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

made=
tree=$(realpath -m "${1:-.cache/slurm-24.11}")
packages=(slurmctld slurmd slurmdbd slurm-client slurm-wlm-basic-plugins slurm-wlm-mysql-plugin munge
  mariadb-server-core mariadb-client-core libeatmydata1 patchelf util-linux iproute2)
newer=("${packages[@]:0:6}")
daemons=(slurmctld-wlm slurmd-wlm slurmstepd-wlm slurmdbd)
clients=(sacct sacctmgr sbatch scancel scontrol sinfo squeue srun)

die() {
  echo "install.sh: $*" >&2
  exit 1
}

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

# While policy-rc.d answers 101 no package starts a service, even where an init runs.
install_packages() {
  local policy=/usr/sbin/policy-rc.d
  [ "$(id -u)" = 0 ] || die "as root, once: apt-get install $*"
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    made=$policy
  fi
  trap 'rm -f "$made"' EXIT
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

debian_mirror() {
  grep -rhE --include='*.list' --include='*.sources' '^(URIs:|deb )' /etc/apt |
    grep -oEm1 'https?://[^ ]+/debian/?( |$)'
}

# Downloads into an apt state of its own; no maintainer script is ever run.
unpack_newer() {
  local root=$1 apt=$1/.apt mirror options deb
  mirror=$(debian_mirror) || die "apt's sources name no Debian mirror"
  mkdir -p "$apt"/{lists/partial,cache/archives/partial,etc/preferences.d,etc/trusted.gpg.d,etc/sources.list.d}
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$apt/etc/sources.list"
  options=(-o "Dir::Etc=$apt/etc" -o "Dir::State=$apt" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt/cache"
    -o APT::Install-Recommends=false -o "APT::Sandbox::User=$(id -un)" -o Acquire::Languages=none)
  apt-get "${options[@]}" -qq update
  apt-get "${options[@]}" -qq -y --download-only install "${newer[@]}" >/dev/null
  for deb in "$apt"/cache/archives/*.deb; do
    case ${deb##*/} in
      perl* | libperl* | systemd_* | dpkg_* | ucf_* | debconf* | adduser* | passwd_* | logrotate* | tzdata*) ;;
      *) dpkg-deb -x "$deb" "$root" ;;
    esac
  done
  rm -rf "$apt"
}

# point_at_own_libraries UNPACKED FINAL: FINAL is the name the tree will have, and so the one written into its programs.
point_at_own_libraries() {
  local unpacked=$1 libraries=usr/lib/x86_64-linux-gnu file
  local path=$2/$libraries/slurm-wlm:$2/$libraries
  for file in "$unpacked/$libraries"/slurm-wlm/*.so*; do
    [ -L "$file" ] || patchelf --force-rpath --set-rpath "$path" "$file"
  done
  for file in "${daemons[@]/#/$unpacked/usr/sbin/}" "${clients[@]/#/$unpacked/usr/bin/}"; do
    patchelf --force-rpath --set-rpath "$path" --set-interpreter "$2/$libraries/ld-linux-x86-64.so.2" "$file"
  done
}

mapfile -t missing < <(missing_packages)
[ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
if [ ! -d "$tree" ]; then
  rm -rf "$tree.new"
  mkdir -p "$tree.new"
  unpack_newer "$tree.new"
  point_at_own_libraries "$tree.new" "$tree"
  mv "$tree.new" "$tree"
fi
