package blockdev

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/pojntfx/go-nbd/pkg/protocol"

	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// TestKill9 kills a server process under load and checks after each kill that
// no acknowledged write is missing, and none was torn.
func TestKill9(t *testing.T) {
	const blocks, size, rounds = 2048, 4096, 4
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/img", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(dir+"/img", blocks*size); err != nil {
		t.Fatal(err)
	}
	rng := seeded.Rand(t)
	sent, acked := make([]uint64, blocks), make([]uint64, blocks)
	stamp, total := uint64(0), 0
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), serveEnv+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if s, err := bufio.NewReader(out).ReadString('\n'); err != nil || s != "ready\n" {
			t.Fatalf("server: %q, %v", s, err)
		}
		nc, err := net.Dial("unix", dir+"/s")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := negotiate(nc, "d1"); err != nil {
			t.Fatal(err)
		}
		for left := 2000 + rng.IntN(6000); ; {
			var burst []byte
			mine := map[uint64]uint64{} // block: stamp, none twice in flight
			for range 1 + rng.IntN(32) {
				b := rng.Uint64N(blocks)
				if mine[b] != 0 {
					continue
				}
				stamp++
				mine[b], sent[b] = stamp, stamp
				burst = append(burst, header(0, cmdWrite, b, b*size, size)...)
				burst = append(burst, bytes.Repeat(binary.BigEndian.AppendUint64(nil, stamp), size/8)...)
			}
			go nc.Write(burst)
			n := 0
			for range mine {
				var h protocol.TransmissionReplyHeader
				if binary.Read(nc, binary.BigEndian, &h) != nil {
					break
				}
				if h.Error != 0 {
					t.Fatalf("write: error %d", h.Error)
				}
				acked[h.Handle] = mine[h.Handle]
				n++
				if left--; left == 0 {
					cmd.Process.Kill()
				}
			}
			total += n
			if n < len(mine) {
				break
			}
		}
		nc.Close()
		cmd.Wait()

		r, err := openSite(dir)
		if err != nil {
			t.Fatal(err)
		}
		disk := content(t, r.g.Volumes()[0])
		for b := range blocks {
			p := disk[b*size : (b+1)*size]
			got := binary.BigEndian.Uint64(p)
			if got < acked[b] || got > sent[b] || !bytes.Equal(p, bytes.Repeat(p[:8], size/8)) {
				t.Fatalf("round %d, block %d: found %d, acknowledged %d, sent %d", round, b, got, acked[b], sent[b])
			}
			acked[b], sent[b] = got, got
		}
		if rng.IntN(2) == 0 { // the next server may have to replay for two
			r.close(t)
			continue
		}
		r.g.abandon()
		r.g.closeBackings()
		r.j.Close()
	}
	t.Logf("%d kills, %d writes acknowledged, 0 lost", rounds, total)
}
