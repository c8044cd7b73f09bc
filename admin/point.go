package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

const pointHint = "latest | latest-app | latest-crash | an RFC 3339 time such as 2026-11-22T22:15:03.25Z | unix:NANOSECONDS | lsn:N | EPOCH:LSN | bookmark:NAME"

// ParsePoint reads a recovery point as an operator writes it: "latest" (or
// nothing), "latest-app", "latest-crash", an RFC 3339 time with up to nine digits of a second, "unix:NANOS",
// "lsn:N" or just N, "EPOCH:LSN" or "bookmark:NAME".
func ParsePoint(s string) (*adminv1.PointSpec, error) {
	fail := func(why string) (*adminv1.PointSpec, error) {
		return nil, &redoubt.Error{Op: "parse recovery point", Object: strconv.Quote(s), Hint: pointHint, Err: fmt.Errorf("%s: %w", why, redoubt.ErrInvalid)}
	}
	lsn := func(s string) (*adminv1.PointSpec, error) {
		l, err := redoubt.ParseLSN(s)
		switch {
		case err != nil:
			return fail("the LSN is not a number")
		case l == 0:
			return fail("writes are numbered from 1")
		}
		return &adminv1.PointSpec{At: &adminv1.PointSpec_Lsn{Lsn: uint64(l)}}, nil
	}
	head, rest, _ := strings.Cut(s, ":")
	switch {
	case s == "" || s == "latest":
		return &adminv1.PointSpec{At: &adminv1.PointSpec_Latest{Latest: true}}, nil
	case s == "latest-app":
		return &adminv1.PointSpec{At: &adminv1.PointSpec_LatestApp{LatestApp: true}}, nil
	case s == "latest-crash":
		return &adminv1.PointSpec{At: &adminv1.PointSpec_LatestCrash{LatestCrash: true}}, nil
	case head == "lsn":
		return lsn(rest)
	case head == "unix":
		ns, err := strconv.ParseInt(rest, 10, 64)
		if err != nil {
			return fail("not a number of nanoseconds")
		}
		return timePoint(time.Unix(0, ns)), nil
	case head == "bookmark":
		if err := redoubt.ValidName("bookmark", rest); err != nil {
			return fail("not a bookmark's name")
		}
		return &adminv1.PointSpec{At: &adminv1.PointSpec_Bookmark{Bookmark: rest}}, nil
	}
	if p, err := redoubt.ParsePosition(s); err == nil {
		if p.Epoch == 0 || p.LSN == 0 {
			return fail("epochs and writes are numbered from 1")
		}
		return &adminv1.PointSpec{At: &adminv1.PointSpec_Position{Position: &adminv1.Position{Epoch: uint64(p.Epoch), Lsn: uint64(p.LSN)}}}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return timePoint(t), nil
	}
	if _, err := redoubt.ParseLSN(s); err == nil {
		return lsn(s)
	}
	return fail("no known form")
}

func timePoint(t time.Time) *adminv1.PointSpec {
	return &adminv1.PointSpec{At: &adminv1.PointSpec_Time{Time: timestamppb.New(t)}}
}

// FormatPoint writes p so that ParsePoint reads it.
func FormatPoint(p *adminv1.PointSpec) string {
	switch at := p.GetAt().(type) {
	case *adminv1.PointSpec_Time:
		return at.Time.AsTime().Format(time.RFC3339Nano)
	case *adminv1.PointSpec_Lsn:
		return "lsn:" + strconv.FormatUint(at.Lsn, 10)
	case *adminv1.PointSpec_Position:
		return ToPosition(at.Position).String()
	case *adminv1.PointSpec_Bookmark:
		return "bookmark:" + at.Bookmark
	case *adminv1.PointSpec_LatestApp:
		return "latest-app"
	case *adminv1.PointSpec_LatestCrash:
		return "latest-crash"
	}
	return "latest"
}
