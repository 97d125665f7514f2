#!/bin/sh
# Builds the kernels and the tests of matmul and attention for AArch64 and runs them under qemu. usage: neon.sh SOURCE_DIR WORK_DIR
# Exit 77 (skipped) where the cross compiler or qemu is missing: g++-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user.
set -eu
source=$1 work=$2
for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
  command -v $tool > /dev/null || { echo "skipped: no $tool"; exit 77; }
done
mkdir -p "$work/include"
for library in hwy doctest fmt; do ln -sfn /usr/include/$library "$work/include/$library"; done
command -v ccache > /dev/null && cached=ccache || cached=
compile() {  # compile OUTPUT SOURCE FLAGS...
  output=$1 file=$2
  shift 2
  $cached aarch64-linux-gnu-g++ -std=c++20 -O1 -ffp-contract=off -DFMT_HEADER_ONLY -isystem "$work/include" \
    -I"$source" -I"$source/src" "$@" -c "$source/$file" -o "$work/$output.o"
}
for kernel in level int8_a int8_b float float_panels panels rows_act rows_attention rows_basic rows_rope; do
  compile neon_$kernel simd/$kernel.cpp -march=armv8-a+crypto -DMOIETY_LEVEL=neon
  compile scalar_$kernel simd/$kernel.cpp -DHWY_COMPILE_ONLY_EMU128 -DHWY_BROKEN_EMU128=0 -DMOIETY_LEVEL=scalar
done
for file in src/core/blocks src/core/blocks_iq src/core/blocks_k src/core/blocks_k_encode src/core/blocks_legacy \
    src/core/cpu_info src/core/dtype src/core/error src/core/panels src/core/tensor simd/levels simd/matmul tests/main \
    tests/simd/test_attention_block tests/simd/test_matmul tests/simd/test_panels; do
  compile "$(basename $file)" $file.cpp "-DMOIETY_SIMD_LEVELS=X(neon) X(scalar)"
done
aarch64-linux-gnu-g++ -static -o "$work/test_neon" "$work"/*.o
exec qemu-aarch64 "$work/test_neon"
