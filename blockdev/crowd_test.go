package blockdev

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowdEnv makes the test binary a crowd of bad clients of the socket that it
// names: a process of its own, so that memory and descriptors that are counted
// are the server's. crowdSize is how many.
const (
	crowdEnv  = "REDOUBT_TEST_CROWD"
	crowdSize = "REDOUBT_TEST_CROWD_SIZE"
)

// shares of a crowd of n.
func crowdIdle(n int) int  { return n * 9 / 10 } // finish the handshake and ask for nothing
func crowdHalf(n int) int  { return n / 10 }     // never finish it
func crowdDeaf(n int) int  { return n / 100 }    // ask for 4 MiB and read none of it
func crowdConns(n int) int { return crowdIdle(n) + crowdDeaf(n) }

// crowd fills the server, says so, and goes on with garbage until it is killed.
func crowd(sock string) error {
	var n int
	fmt.Sscan(os.Getenv(crowdSize), &n)
	raiseLimit()
	dial := func() (net.Conn, error) {
		for {
			nc, err := net.Dial("unix", sock)
			if errors.Is(err, unix.EAGAIN) { // the backlog is full
				time.Sleep(time.Millisecond)
				continue
			}
			return nc, err
		}
	}
	var mu sync.Mutex
	var keep []net.Conn
	many := func(n int, f func(net.Conn) error) error {
		errs := make(chan error, 8)
		for i := range cap(errs) {
			go func() {
				for k := i; k < n; k += cap(errs) {
					nc, err := dial()
					if err == nil {
						err = f(nc)
					}
					if err != nil {
						errs <- err
						return
					}
					mu.Lock()
					keep = append(keep, nc)
					mu.Unlock()
				}
				errs <- nil
			}()
		}
		var err error
		for range cap(errs) {
			err = errors.Join(err, <-errs)
		}
		return err
	}
	err := many(crowdIdle(n), func(nc net.Conn) error {
		_, err := negotiate(nc, "d1")
		return err
	})
	err = errors.Join(err, many(crowdDeaf(n), func(nc net.Conn) error {
		_, err := negotiate(nc, "d1")
		for i := range uint64(64) {
			if err == nil {
				_, err = nc.Write(header(0, cmdRead, i, 0, 64<<10))
			}
		}
		return err
	}))
	err = errors.Join(err, many(crowdHalf(n), func(net.Conn) error { return nil }))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	rng := rand.New(rand.NewPCG(1, 2))
	for { // 200 a second: the flood must not be a test of the machine's cores
		nc, err := dial()
		if err != nil {
			return err
		}
		b := make([]byte, 1+rng.IntN(64))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		nc.Write(b)
		if rng.IntN(2) == 0 {
			io.CopyN(io.Discard, nc, 18)
		}
		nc.Close()
		time.Sleep(5 * time.Millisecond)
		runtime.KeepAlive(keep) // else they are collected, and closed
	}
}

// raiseLimit returns how many descriptors this process may have.
func raiseLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	r.Cur = r.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 1024
	}
	return int(min(r.Cur, 1<<20))
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(d)
}

// memory is what the garbage collector leaves, with stacks.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// latencies writes and reads 4 KiB n times and returns median and 99th percentile.
func (c *client) latencies(n int) (median, p99 time.Duration) {
	c.t.Helper()
	c.nc.SetDeadline(time.Now().Add(2 * time.Minute))
	data := bytes.Repeat([]byte{7}, 4096)
	var all []time.Duration
	for i := range n {
		began := time.Now()
		off := uint64(i%256) * 4096
		if errno, _ := c.do(0, cmdWrite, off, 4096, data); errno != 0 {
			c.t.Fatalf("write: %d", errno)
		}
		if errno, got := c.do(0, cmdRead, off, 4096, nil); errno != 0 || !bytes.Equal(got, data) {
			c.t.Fatalf("read: %d", errno)
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	return all[n/2], all[n*99/100]
}

// raceOn says that the race detector watches, which bears 8,000 goroutines.
var raceOn bool

// TestCrowd is a good client among up to 10,000 bad ones.
func TestCrowd(t *testing.T) {
	n := min(10_000, (raiseLimit()-1000)*10/11)
	if testing.Short() || raceOn {
		n = min(n, 1000)
	}
	o := ServerOptions{MaxConns: crowdConns(n) + 1, MaxHandshakes: n / 20, IdleAfter: time.Second, StallTimeout: 10 * time.Second}
	sv := serve(t, o, newRig(t, GroupOptions{}, nil, 8<<20))
	good := sv.client(t, "d1")
	good.latencies(4000) // warm
	med0, p0 := good.latencies(4000)
	mem0, fds0 := memory(), descriptors(t)

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crowdEnv+"="+sv.sock, fmt.Sprintf("%s=%d", crowdSize, n))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		cmd.Wait()
		t.Fatalf("the crowd did not come in: %q %v\n%s", line, err, stderr.String())
	}
	crowded := sv.s.Conns()
	med1, p1 := good.latencies(4000)
	mem1, fds1 := memory(), descriptors(t)
	each := (mem1 - mem0) / int64(crowded)
	t.Logf("%d bad clients, %d connections at once: memory +%d MiB (%d KiB each), descriptors +%d", n, crowded, (mem1-mem0)>>20, each>>10, fds1-fds0)
	if crowded < crowdIdle(n) {
		t.Errorf("%d connections: this was no crowd", crowded)
	}
	if limit := o.MaxConns + o.MaxHandshakes + 50; fds1-fds0 > limit {
		t.Errorf("%d more descriptors, the limits allow %d", fds1-fds0, limit)
	}
	// A deaf client may hold its answers, everybody else a stack and a few KiB.
	if limit := int64(crowdDeaf(n))*(2<<20) + int64(n)*(64<<10); mem1-mem0 > limit {
		t.Errorf("%d MiB more memory, want at most %d MiB", (mem1-mem0)>>20, limit>>20)
	}
	eventually(t, "the deaf are thrown out", func() bool { return sv.log.has("does not take its answers") })
	eventually(t, "the others rest", func() bool { return memory()-mem0 < int64(n)*(24<<10)+16<<20 })
	t.Logf("afterwards: memory +%d MiB, %d connections", (memory()-mem0)>>20, sv.s.Conns())
	cmd.Process.Kill()
	eventually(t, "the crowd is gone", func() bool { return sv.s.Conns() == 1 })
	eventually(t, "its descriptors are closed", func() bool { return descriptors(t) <= fds0+4 })
	med2, p2 := good.latencies(4000)
	t.Logf("4 KiB write and read: before, among the crowd, after: median %v, %v, %v; p99 %v, %v, %v", med0, med1, med2, p0, p1, p2)
	if p1 > 20*max(p0, p2)+100*time.Millisecond { // the machine is not ours alone
		t.Errorf("p99 is %v among the crowd, %v before and %v after", p1, p0, p2)
	}
	if errno, _ := good.do(0, cmdFlush, 0, 0, nil); errno != 0 {
		t.Errorf("flush: %d", errno)
	}
}
