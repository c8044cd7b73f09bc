package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/config"
	"github.com/redoubt-dr/redoubt/internal/handover"
)

// checkTimeout bounds the question whether the next life would start.
const checkTimeout = 30 * time.Second

// life is this process's way to end: SIGINT and SIGTERM end it, and leave its
// connections to the service manager if there is one; SIGHUP lets the program at
// bin take its place with the configuration as it is then.
type life struct {
	bin  string
	end  context.Context
	next chan os.Signal
}

func newLife() *life {
	l := &life{next: make(chan os.Signal, 1)}
	signal.Notify(l.next, syscall.SIGHUP)
	l.end, _ = signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// Not os.Executable: it names what a link meant when this life began.
	l.bin = os.Args[0]
	if p, err := exec.LookPath(l.bin); err == nil {
		l.bin = p
	}
	if p, err := filepath.Abs(l.bin); err == nil {
		l.bin = p
	}
	return l
}

// live serves until the end, and passes on what the next life goes on with.
func (l *life) live(cfg *config.Config, log *slog.Logger) error {
	in, err := handover.Inherit()
	if err != nil {
		log.Error("what the last life left cannot be used; clients must connect again", "err", err, "hint", redoubt.Hint(err))
	}
	for {
		next, err := serve(l, cfg, log, in)
		if next == nil {
			return err
		}
		if err != nil {
			log.Error("not everything was closed cleanly before the restart", "err", err, "hint", redoubt.Hint(err))
		}
		if l.end.Err() != nil {
			return l.leave(next, log)
		}
		err = next.Exec(l.bin, os.Args)
		log.Error("the new program did not start; the old one goes on", "err", err)
		signal.Notify(l.next, syscall.SIGHUP)
		in = &handover.Inherited{State: *next}
	}
}

// leave gives everything to the service manager, if there is one.
func (l *life) leave(next *handover.State, log *slog.Logger) error {
	defer next.Close()
	if !handover.HasStore() {
		return nil
	}
	err := next.Store()
	if err == nil {
		log.Info("the service manager keeps what the next life goes on with", "connections", len(next.Conns), "sockets", len(next.Listeners))
	}
	return err
}

// wait returns when this life shall end. n.next tells whether another one goes on.
func (n *node) wait(l *life) error {
	for {
		select {
		case <-l.end.Done():
			n.notify(daemon.SdNotifyStopping)
			if handover.HasStore() {
				n.handOver()
			}
			return nil
		case err := <-n.fatal:
			n.notify(daemon.SdNotifyStopping)
			return err
		case <-l.next:
			n.notify(reloading())
			err := l.checkNext()
			if err == nil {
				n.handOver()
				return nil
			}
			n.log.Error("restart refused, this program goes on", "err", err, "hint", redoubt.Hint(err))
			n.notify(daemon.SdNotifyReady)
		}
	}
}

func (n *node) handOver() {
	n.next = &handover.State{}
	n.sockets.Keep()
}

// notify tells systemd, if it is there; what it does not hear does no harm.
func (n *node) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("systemd was not told", "state", state, "err", err)
	}
}

// reloading is what Type=notify-reload wants to hear.
func reloading() string {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // 0 is not wrong, only useless
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000)
}

// checkNext asks the program that would take our place whether it can start.
func (l *life) checkNext() error {
	ctx, cancel := context.WithTimeout(l.end, checkTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, l.bin, append(slices.Clone(os.Args[1:]), "--check")...).CombinedOutput()
	if err != nil {
		return &redoubt.Error{Op: "check", Object: l.bin, Err: fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out[:min(len(out), 2048)]))),
			Hint: "try: " + l.bin + " " + strings.Join(os.Args[1:], " ") + " --check"}
	}
	return nil
}

// takeOver goes on with the connections of an earlier life. It comes when the
// disks are open.
func (n *node) takeOver(src *sourceRole, in *handover.Inherited) {
	err := in.Claim()
	conns := in.Conns
	in.Conns = nil
	switch {
	case err != nil: // the next life would get them as they were before this one
		err = fmt.Errorf("the service manager keeps them: %w", err)
	case src == nil:
		err = fmt.Errorf("this node is no source any more: %w", redoubt.ErrState)
	default:
		src.host.Adopt(conns)
		return
	}
	for _, c := range conns {
		n.log.Warn("NBD connection closed: it cannot go on after the restart", "group", c.Group, "export", c.Export, "err", err)
		c.End()
	}
}
