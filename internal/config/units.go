package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// Size is a number of bytes.
type Size uint64

// The IEC units of a Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// sizeUnits are in the order in which String tries them.
func sizeUnits() []struct {
	name string
	size Size
} {
	return []struct {
		name string
		size Size
	}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}
}

// ParseSize reads "4GiB", "1.5 GiB", "512KiB" or a bare number of bytes. Units
// are B, KiB, MiB, GiB and TiB; a decimal unit such as GB is refused, because
// half of its users mean GiB.
func ParseSize(s string) (Size, error) {
	fail := func(why string) (Size, error) {
		return 0, &redoubt.Error{Op: "parse size", Object: strconv.Quote(s), Err: fmt.Errorf("%s: %w", why, redoubt.ErrInvalid),
			Hint: "a size is a number with one of B, KiB, MiB, GiB, TiB, such as 64MiB"}
	}
	num, unit := strings.TrimSpace(s), Size(1)
	for _, u := range sizeUnits() {
		if n, ok := strings.CutSuffix(num, u.name); ok {
			num, unit = strings.TrimRight(n, " "), u.size
			break
		}
	}
	if n, err := strconv.ParseUint(num, 10, 64); err == nil {
		if n > math.MaxInt64/uint64(unit) {
			return fail("too large")
		}
		return Size(n) * unit, nil
	}
	f, err := strconv.ParseFloat(num, 64)
	switch {
	case err != nil || strings.ContainsAny(num, "eExXpPnN_+-"):
		return fail("not a size")
	case f*float64(unit) >= math.MaxInt64:
		return fail("too large")
	case f*float64(unit) != math.Trunc(f*float64(unit)):
		return fail("not a whole number of bytes")
	}
	return Size(f * float64(unit)), nil
}

// String returns the size in the largest unit that divides it, such as
// "64MiB"; ParseSize reads it.
func (s Size) String() string {
	for _, u := range sizeUnits() {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatUint(uint64(s/u.size), 10) + u.name
		}
	}
	return "0B"
}

// UnmarshalText is ParseSize.
func (s *Size) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSize(string(b))
	return err
}

// Duration is a length of time, never negative.
type Duration time.Duration

// ParseDuration reads "30s", "1m30s", "250ms". A bare number is refused.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, &redoubt.Error{Op: "parse duration", Object: strconv.Quote(s), Err: redoubt.ErrInvalid,
			Hint: "a duration is a number with one of ms, s, m, h, such as 30s"}
	}
	return Duration(d), nil
}

// String returns the form that ParseDuration reads.
func (d Duration) String() string { return time.Duration(d).String() }

// Std returns d as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// UnmarshalText is ParseDuration.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}
