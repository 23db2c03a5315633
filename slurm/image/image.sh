#!/usr/bin/env bash
# Builds the image of the Dockerfile, tries it, and turns it into what clusters take. The Makefile's targets call this.
#
#   image.sh check             exit 0 when an image can be built here; otherwise one line with the reason, exit 1
#   image.sh build             build IMAGE from BASE_IMAGE (default: the Dockerfile's); needs a registry or that base
#   image.sh base NAME         make a stand-in for Debian's image without a registry: debootstrap, imported as NAME
#   image.sh test              the sample pipeline and every test in IMAGE, as a user nobody knows, nothing writable
#   image.sh sif | sqsh        convert IMAGE by apptainer or enroot; where that is missing, print the commands
#   image.sh test-packages DIR install pytest and the like, as locked, for the image's Python into DIR (needs uv)
#   image.sh run ARGS...       docker/podman run ARGS..., as the tests do: no network, nothing writable
#   image.sh engine ARGS...    docker/podman ARGS..., on the store the image is in
#   image.sh clean             remove IMAGE if `build` made it; when IMAGE_STORE is set, the store it made there instead
#
# Variables: IMAGE (gpt2-ivr), BASE_IMAGE, ENGINE (docker where its daemon answers, otherwise podman), IMAGE_STORE
# (a directory for podman's layers; default: podman's own), CA_CERTIFICATES (a bundle to trust while building; default:
# the one that SSL_CERT_FILE or PIP_CERT names). The package index and its credentials are read from the configuration
# of pip and uv here and reach the build as secrets; wheelhouse/ is used instead where it exists.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
IMAGE="${IMAGE:-gpt2-ivr}"
PATH="$PATH:/usr/sbin:/sbin"

say() { echo "image: $*" >&2; }
fail() { say "$*"; exit 1; }

check() {
  if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "the image is for Linux on x86_64"
  elif [ -n "${ENGINE:-}" ] && [ "$ENGINE" != podman ] && ! command -v "$ENGINE" > /dev/null; then
    echo "ENGINE=$ENGINE is not to be found"
  elif command -v podman > /dev/null || docker info > /dev/null 2>&1; then
    return 0
  elif [ "$(id -u)" != 0 ]; then
    echo "no docker, no podman, and no root to install podman"
  elif ! command -v apt-get > /dev/null; then
    echo "no docker, no podman, and no apt-get to install podman with"
  else
    return 0
  fi
  return 1
}

install() {
  say "installing $*"
  local log; log="$(mktemp)"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o DPkg::Lock::Timeout=300 -qq update || say "apt-get update failed; trying with the lists as they are"
  apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends "$@" > "$log" 2>&1 < /dev/null ||
    { tail -n 20 "$log" >&2; fail "apt-get could not install $*"; }
  rm -f "$log"
}

# sets engine, an array; installs podman when root may
find_engine() {
  local name="${ENGINE:-}"
  if [ -z "$name" ]; then
    if [ -z "${IMAGE_STORE:-}" ] && docker info > /dev/null 2>&1; then name=docker; else name=podman; fi
  fi
  engine=("$name")
  if [ "$name" = podman ]; then
    command -v podman > /dev/null || install podman runc
    if [ -n "${IMAGE_STORE:-}" ]; then
      engine+=(--root "$IMAGE_STORE/storage" --runroot "$IMAGE_STORE/run" --storage-driver "$(storage_driver)")
    fi
    # crun wants cgroups as systemd makes them; runc takes the machine as it is
    if command -v runc > /dev/null; then engine+=(--runtime runc); fi
  fi
}

# overlay, where the file system of the store can be one: vfs copies every layer whole
storage_driver() {
  local probe
  if [ -e "$IMAGE_STORE/driver" ]; then cat "$IMAGE_STORE/driver"; return 0; fi
  # the file `driver` says to `clean` that the rest is ours
  if [ -e "$IMAGE_STORE/storage" ] || [ -e "$IMAGE_STORE/run" ]; then
    fail "IMAGE_STORE=$IMAGE_STORE holds a store that image.sh did not make; name another directory"
  fi
  mkdir -p "$IMAGE_STORE"; probe="$(mktemp -d "$IMAGE_STORE/probe.XXXXXX")"
  mkdir "$probe/lower" "$probe/upper" "$probe/work" "$probe/merged"
  if mount -t overlay probe -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" "$probe/merged" \
    2> /dev/null; then
    umount "$probe/merged"; echo overlay > "$IMAGE_STORE/driver"
  else
    echo vfs > "$IMAGE_STORE/driver"
  fi
  rm -rf "$probe"
  cat "$IMAGE_STORE/driver"
}

# how this machine reaches packages, as a shell file on standard output
index_settings() {
  local name index
  for name in UV_DEFAULT_INDEX UV_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL UV_INDEX_STRATEGY UV_HTTP_TIMEOUT \
    PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_DEFAULT_TIMEOUT PIP_TRUSTED_HOST; do
    # a folder of this machine does not exist in the build
    case "${!name:-}" in "" | *file://*) ;; *) printf 'export %s=%q\n' "$name" "${!name}" ;; esac
  done
  index="${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2> /dev/null || true)}"
  if [ -n "$index" ] && [ "${index#file://}" = "$index" ]; then
    printf 'export PIP_INDEX_URL=%q\n' "$index"
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}${UV_INDEX:-}" ]; then
      printf 'export UV_DEFAULT_INDEX=%q\n' "$index"
    fi
  fi
}

# the commit, and whether the files are those of the commit
commit() {
  git -C "$root" describe --always --abbrev=40 --dirty --exclude '*' 2> /dev/null || echo unknown
}

build() {
  local arguments=(--tag "$IMAGE") ca="${CA_CERTIFICATES:-${SSL_CERT_FILE:-${PIP_CERT:-}}}" file uv
  arguments+=(--build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/pyproject.toml" | head -n 1)")
  arguments+=(--build-arg "COMMIT=$(commit)")
  if [ -n "${BASE_IMAGE:-}" ]; then arguments+=(--build-arg "BASE_IMAGE=$BASE_IMAGE"); fi
  if [ -n "$ca" ]; then arguments+=(--secret "id=ca,src=$ca"); fi
  for file in "${UV_CONFIG_FILE:-}" "${XDG_CONFIG_HOME:-$HOME/.config}/uv/uv.toml" /etc/uv/uv.toml; do
    if [ -n "$file" ] && [ -s "$file" ]; then arguments+=(--secret "id=uv,src=$file"); break; fi
  done
  scratch="$(mktemp -d)"; trap 'rm -rf "$scratch"' EXIT
  index_settings > "$scratch/index.sh"
  if [ -s "$scratch/index.sh" ]; then arguments+=(--secret "id=index,src=$scratch/index.sh"); fi
  if [ -d "$root/wheelhouse" ]; then arguments+=(--build-context "wheelhouse=$root/wheelhouse"); fi
  find_engine
  if [ "${engine[0]}" = podman ]; then
    # no daemon, no privileges, whatever the machine; uv's cache here spares the download of what is installed here
    arguments+=(--isolation chroot --network host)
    uv="${UV_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/uv}"
    if [ -d "$uv" ]; then arguments+=(--volume "$uv:/var/cache/uv"); fi
    if [ "$("${engine[@]}" info --format '{{.Store.GraphDriverName}}')" = vfs ]; then arguments+=(--layers=false); fi
  fi
  "${engine[@]}" build "${arguments[@]}" "$root"
}

base() {
  find_engine
  command -v debootstrap > /dev/null || install debootstrap
  scratch="$(mktemp -d)"; trap 'rm -rf "$scratch"' EXIT
  chmod 755 "$scratch"
  debootstrap --variant=minbase trixie "$scratch/rootfs" > "$scratch/log" 2>&1 ||
    { tail -n 20 "$scratch/log" >&2; fail "debootstrap failed"; }
  rm -rf "$scratch"/rootfs/var/cache/apt/* "$scratch"/rootfs/var/lib/apt/lists/*
  tar -C "$scratch/rootfs" -c . | "${engine[@]}" import - "$1" > /dev/null
  say "$1 stands in for Debian's image"
}

run() {
  find_engine
  local options=(--rm --read-only)
  # root without a daemon may not raise its own limits
  if [ "${engine[0]}" = podman ]; then options+=(--ulimit nofile=1024:1024 --ulimit nproc=4096:4096); fi
  case " $* " in *" --network"*) ;; *) options+=(--network none) ;; esac
  exec "${engine[@]}" run "${options[@]}" "$@"
}

# a user id without a name, a folder of its own, nothing of the image writable
try_out() {
  local options stage
  scratch="$(mktemp -d)"; trap 'rm -rf "$scratch"' EXIT
  chmod 755 "$scratch"
  mkdir -p "$scratch"/{work,cache,tmp,packages}
  options=(--user 20001:20001 -v "$scratch/work:/work" -v "$scratch/cache:/cache" -v "$scratch/tmp:/tmp")
  if [ "$(id -u)" = 0 ]; then
    chown 20001:20001 "$scratch"/{work,cache,tmp}
  else
    chmod 777 "$scratch"/{work,cache,tmp}
  fi
  say "the sample pipeline"
  for stage in init analyze distill-tokenizer select remap align train evaluate report; do
    (run "${options[@]}" "$IMAGE" ivr "$stage")
  done
  say "the tests"
  test_packages "$scratch/packages"
  options+=(-v "$root:/source:ro" -v "$scratch/packages:/packages:ro" --workdir /source)
  options+=(--env PYTHONPATH=/packages --env PYTHONSAFEPATH=1 --env HYPOTHESIS_STORAGE_DIRECTORY=/cache/hypothesis)
  (run "${options[@]}" "$IMAGE" python -m pytest -p no:cacheprovider "$@")
}

# pytest and what else the lock has for development, for the image's Python, in a folder beside the image
test_packages() {
  local uv="${UV:-uv}"
  "$uv" export --quiet --project "$root" --frozen --only-dev --no-header --no-annotate --no-emit-project \
    --output-file "$1/requirements.txt" > /dev/null
  "$uv" pip install --quiet --require-hashes --python-version 3.13 --only-binary :all: --target "$1" \
    --requirements "$1/requirements.txt"
}

# print each command; run it where its program is there
convert() {
  local file="${IMAGE##*/}"; file="${file%%:*}.$1"
  local tag="$IMAGE"; case "${tag##*/}" in *:*) ;; *) tag="$tag:latest" ;; esac
  local archive="${file%.*}.tar" commands=() program=apptainer command made
  find_engine
  case "$1-${engine[0]}" in
    sif-docker) commands=("apptainer build $file docker-daemon:$tag") ;;
    sif-*) commands=("${engine[*]} save --format docker-archive --output $archive $tag"
      "apptainer build $file docker-archive:$archive" "rm $archive") ;;
    sqsh-docker) commands=("enroot import --output $file dockerd://$tag") ;;
    sqsh-*) commands=("enroot import --output $file podman://$tag") ;;
  esac
  if [ "$1" = sqsh ]; then program=enroot; fi
  printf '%s\n' "${commands[@]}"
  if ! command -v "$program" > /dev/null; then
    say "$program is not on this machine: the commands above are for one that has it"
    return 0
  fi
  for made in "$file" "$archive"; do
    case "${commands[*]}" in *"$made"*) ;; *) continue ;; esac
    [ ! -e "$made" ] || fail "$made is there; move it elsewhere, and run this again"
  done
  for command in "${commands[@]}"; do $command; done
}

# nothing goes that image.sh did not make: an image of another origin, a container that runs, a directory that was there
clean() {
  local title
  if [ -n "${IMAGE_STORE:-}" ]; then clean_store; return; fi
  find_engine
  title="$("${engine[@]}" image inspect --format '{{index .Config.Labels "org.opencontainers.image.title"}}' "$IMAGE" \
    2> /dev/null)" || { say "there is no image $IMAGE"; return 0; }
  [ "$title" = gpt2-ivr ] || fail "$IMAGE was not made by \`image.sh build\` (its title is '$title'); it stays"
  "${engine[@]}" rmi "$IMAGE"
}

clean_store() {
  [ -e "$IMAGE_STORE" ] || { say "there is no $IMAGE_STORE"; return 0; }
  [ -f "$IMAGE_STORE/driver" ] || fail "IMAGE_STORE=$IMAGE_STORE was not made by image.sh; it stays"
  local store; store="$(realpath "$IMAGE_STORE")"
  if command -v podman > /dev/null; then
    find_engine
    [ -z "$("${engine[@]}" ps --quiet 2> /dev/null)" ] || fail "a container of $IMAGE_STORE runs; stop it first"
    "${engine[@]}" rmi --all --force > /dev/null 2>&1 || true
  fi
  umount "$store/storage/overlay" 2> /dev/null || true
  if awk -v below="$store/" 'index($5, below) == 1 { found = 1 } END { exit !found }' /proc/self/mountinfo; then
    fail "something is still mounted below $store (see /proc/self/mountinfo); unmount it first"
  fi
  rm -rf --one-file-system "$store/storage" "$store/run"
  rm -f "$store/driver"
  rmdir --ignore-fail-on-non-empty "$store"
}

action="${1:-}"; shift || true
case "$action" in
  check | build | run | clean) "$action" "$@" ;;
  base) base "${1:?image.sh base NAME}" ;;
  test) try_out "$@" ;;
  test-packages) test_packages "${1:?image.sh test-packages FOLDER}" ;;
  sif | sqsh) convert "$action" ;;
  engine) find_engine; exec "${engine[@]}" "$@" ;;
  *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
