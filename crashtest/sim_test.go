package crashtest

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-dr/redoubt"
)

// workerEnv makes the test binary a worker: DIR, seed, life, mode.
const workerEnv = "REDOUBT_CRASHTEST_WORKER"

func TestMain(m *testing.M) {
	if v := os.Getenv(workerEnv); v != "" {
		f := strings.Split(v, "\n")
		seed, err1 := strconv.ParseUint(f[1], 10, 64)
		life, err2 := strconv.ParseUint(f[2], 10, 64)
		err := errors.Join(err1, err2)
		if err == nil {
			err = Worker{Dir: f[0], Seed: seed, Life: life, Mode: Mode(f[3]), Out: os.Stdout}.Work()
		}
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	flag.Parse()
	// A badger.Open that finds its folder damaged by a kill leaves these behind.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dgraph-io/badger/v4.(*DB).monitorCache"),
		goleak.IgnoreAnyFunction("github.com/dgraph-io/ristretto/v2/z.(*AllocatorPool).freeupAllocators"))
}

func self(w Worker) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), workerEnv+"="+strings.Join([]string{w.Dir, strconv.FormatUint(w.Seed, 10), strconv.FormatUint(w.Life, 10), string(w.Mode)}, "\n"))
	return c
}

func options(t *testing.T, d time.Duration, broken ...Mode) Options {
	t.Helper()
	return Options{Seed: uint64(time.Now().UnixNano()), Time: d, Dir: t.TempDir(), Command: self, Broken: broken, Out: logger{t}}
}

// logger writes lines to the test's log, so that the seed is there.
type logger struct{ t *testing.T }

func (l logger) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// The product loses nothing, and the run has tried everything.
func TestSound(t *testing.T) {
	o := options(t, 12*time.Second)
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := r.Tally
	if c.Cuts == 0 || c.Kills == 0 || c.RealKills == 0 || c.Latched == 0 || c.Noticed == 0 || c.Dropped == 0 || c.Acknowledged == 0 || c.Flushed == 0 {
		t.Errorf("not everything was tried: %+v", c)
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Every broken variant is caught within seconds.
func TestBrokenIsCaught(t *testing.T) {
	for _, m := range Modes() {
		t.Run(string(m), func(t *testing.T) {
			r, err := Run(context.Background(), options(t, 20*time.Second, m))
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Broken) != 1 || !r.Broken[0].Caught {
				t.Fatalf("%+v", r.Broken)
			}
		})
	}
}

// A finding of the product ends in an error that says damage, with the counts.
func TestLossIsReported(t *testing.T) {
	x := &runner{o: Options{Out: io.Discard}}
	err := x.conclude(x.within(context.Background(), 20*time.Second, func(ctx context.Context) error { return x.simulate(ctx, SkipSync) }))
	if !errors.Is(err, redoubt.ErrCorrupt) || x.r.Tally.Lost == 0 || len(x.r.Findings) != 1 || !strings.HasPrefix(x.r.Verdict, "FAILED") {
		t.Errorf("%v: %+v", err, x.r)
	}
}

// A variant that is not broken cannot be caught: then the judge is called blind.
func TestBlindJudgeIsReported(t *testing.T) {
	o := options(t, time.Second/2, Mode("harmless"))
	o.Command = nil
	if _, err := Run(context.Background(), o); err == nil || errors.Is(err, redoubt.ErrCorrupt) {
		t.Errorf("error %v", err)
	}
}
