package main

import (
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// iec writes a number of bytes for people: "0 B", "1.5 GiB".
func iec(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	f, i := float64(n), 0
	for f >= 1023.95 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return strconv.FormatUint(n, 10) + " B"
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// age writes how long ago t was, seen from now: "0.4s", "12s", "3m20s",
// "5h10m", "3d4h"; "" if t is unset.
func age(now, t *timestamppb.Timestamp) string {
	if t == nil || now == nil {
		return ""
	}
	return span(now.AsTime().Sub(t.AsTime()))
}

func span(d time.Duration) string {
	sign := ""
	if d < 0 { // clocks of two hosts
		sign, d = "-", -d
	}
	s := int64(d / time.Second)
	switch {
	case d < 10*time.Second:
		return sign + strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case s < 60:
		return fmt.Sprintf("%s%ds", sign, s)
	case s < 3600:
		return fmt.Sprintf("%s%dm%ds", sign, s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%s%dh%dm", sign, s/3600, s%3600/60)
	}
	return fmt.Sprintf("%s%dd%dh", sign, s/86400, s%86400/3600)
}

// lag writes an RPO.
func lag(s *float64) string {
	if s == nil {
		return "unknown"
	}
	return span(time.Duration(*s * float64(time.Second)))
}

// stamp writes a time so that --at reads it back.
func stamp(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Format(time.RFC3339Nano)
}

// position writes a position so that --at reads it back.
func position(p *adminv1.Position) string {
	if p == nil {
		return ""
	}
	return admin.ToPosition(p).String()
}

func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func percent(done, total uint64) string {
	if total == 0 {
		return "0 %" // a copy that has not begun knows no size
	}
	return fmt.Sprintf("%.0f %%", 100*float64(done)/float64(total))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func millis(ms uint64) string { return (time.Duration(ms) * time.Millisecond).String() }
