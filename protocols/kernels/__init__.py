"""Hot loops: compiled with numba where the processor has AES instructions, NumPy and OpenSSL elsewhere."""
