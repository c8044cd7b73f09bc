package ship

import "bytes"

// zeroUnit is the granularity in bytes at which zeros are looked for.
const zeroUnit = 4 << 10

// isZero reports whether all bytes of p are zero; p must not be empty.
func isZero(p []byte) bool {
	// Equal to itself shifted by one byte: one memcmp at memory speed.
	return len(p) > 0 && p[0] == 0 && bytes.Equal(p[:len(p)-1], p[1:])
}

// zeroRuns splits p, whose first byte lies at disk offset off, into runs that
// are all zero and runs that are not, at aligned units of zeroUnit, and calls fn
// for each in order.
func zeroRuns(off uint64, p []byte, fn func(from, to int, zero bool) error) error {
	start, zero := 0, false
	for at := 0; at < len(p); {
		end := min(len(p), at+int(zeroUnit-(off+uint64(at))%zeroUnit))
		z := isZero(p[at:end])
		if at > start && z != zero {
			if err := fn(start, at, zero); err != nil {
				return err
			}
			start = at
		}
		zero, at = z, end
	}
	if start < len(p) {
		return fn(start, len(p), zero)
	}
	return nil
}
