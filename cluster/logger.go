package cluster

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// slogSink passes what Raft logs on to slog. Raft tells much at Info that
// operators need at Debug only, so levels sink by one below Warn.
type slogSink struct{ log *slog.Logger }

func newRaftLogger(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Info, Output: io.Discard})
	l.RegisterSink(&slogSink{log: log})
	return l
}

// Accept implements hclog.SinkAdapter.
func (s *slogSink) Accept(name string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch {
	case level >= hclog.Error:
		to = slog.LevelError
	case level == hclog.Warn:
		to = slog.LevelWarn
	}
	clean := make([]any, 0, len(args)+2)
	for _, a := range args {
		switch v := a.(type) {
		case hclog.CapturedStacktrace:
			clean = append(clean, string(v))
		case hclog.Format:
			clean = append(clean, v[1:])
		default:
			clean = append(clean, a)
		}
	}
	s.log.Log(context.Background(), to, msg, append(clean, "part", name)...)
}
