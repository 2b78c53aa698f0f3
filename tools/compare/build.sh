#!/usr/bin/env bash
# Builds what shardnode is compared with into DIR: llama.cpp from the source
# package of llama-cpp-python on the Python package index, and its fork
# ik_llama.cpp from GitHub, or from the checkout that IK_LLAMA_CPP names.
# Needs python3 with pip, cmake, a C++ compiler; ninja makes it shorter.
set -euo pipefail
dir=${1:?usage: build.sh DIR}
mkdir -p "$dir"
cd "$dir"
flags=(-DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF)
command -v ninja >/dev/null && flags+=(-G Ninja)

build() { # SOURCE BUILD TARGET...
	local source=$1 out=$2
	shift 2
	[ -f "$out/CMakeCache.txt" ] || cmake -S "$source" -B "$out" "${flags[@]}"
	cmake --build "$out" --config Release -j "$(nproc)" --target "$@"
}

if [ ! -x llama.cpp-build/bin/llama-server ]; then
	python3 -m pip download -q --no-deps --no-binary :all: llama-cpp-python
	tar xzf llama_cpp_python-*.tar.gz
	rm -f llama_cpp_python-*.tar.gz
	build llama_cpp_python-*/vendor/llama.cpp llama.cpp-build llama-bench llama-server
fi

if [ ! -x ik_llama.cpp-build/bin/llama-bench ]; then
	source=${IK_LLAMA_CPP:-ik_llama.cpp}
	if [ ! -d "$source" ] && ! git clone -q --depth 1 https://github.com/ikawrakow/ik_llama.cpp "$source"; then
		echo "build.sh: no ik_llama.cpp: set IK_LLAMA_CPP to a checkout of it; going on without" >&2
		exit 0
	fi
	build "$source" ik_llama.cpp-build llama-bench
fi
