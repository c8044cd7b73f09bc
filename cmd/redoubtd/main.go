// Command redoubtd is Redoubt's daemon. Its configuration gives it the role
// source, target, or both.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/config"
	"github.com/redoubt-dr/redoubt/internal/version"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it could not start, or an unrecoverable error ended it
	exitUsage  = 2 // bad flags or configuration
)

func main() { os.Exit(run()) }

func run() int {
	path := flag.String("config", "/etc/redoubt/redoubtd.yaml", "configuration file")
	check := flag.Bool("check", false, "check the configuration, the freeze scripts and the certificate, and exit")
	showVersion := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	switch {
	case *showVersion:
		fmt.Println("redoubtd", version.String())
		return exitOK
	case flag.NArg() > 0:
		fmt.Fprintf(os.Stderr, "error: unexpected argument %q\nhint: redoubtd --config FILE\n", flag.Arg(0))
		return exitUsage
	}
	easeScheduler()
	l := newLife()
	cfg, err := config.Load(*path)
	if err != nil {
		complain(err)
		return exitUsage
	}
	if *check {
		if err := errors.Join(checkCertificate(cfg, time.Now()), checkScripts(cfg)); err != nil {
			complain(err)
			return exitUsage
		}
		fmt.Println(*path, "is valid")
		return exitOK
	}
	if err := l.live(cfg, newLogger(cfg.Log)); err != nil {
		complain(err)
		return exitFailed
	}
	return exitOK
}

func complain(err error) {
	fmt.Fprintln(os.Stderr, "error:", err)
	if h := redoubt.Hint(err); h != "" {
		fmt.Fprintln(os.Stderr, "hint:", h)
	}
}

func newLogger(c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
