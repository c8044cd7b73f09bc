package oracle

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// server is a real NBD server of someone else's over an image file.
type server struct {
	t      *testing.T
	image  string
	socket string
	cmd    *exec.Cmd
}

func startServer(t *testing.T, dir, image string) *server {
	t.Helper()
	if _, err := exec.LookPath("nbdkit"); err != nil {
		t.Skip("nbdkit is not installed: run scripts/deps.sh")
	}
	s := &server{t: t, image: image, socket: filepath.Join(dir, filepath.Base(image)+".up")}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	os.Remove(s.socket)
	s.cmd = exec.Command("nbdkit", "-f", "-U", s.socket, "file", s.image)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		if c, err := Dial(context.Background(), s.socket, ""); err == nil {
			c.Close()
			return
		} else if time.Now().After(deadline) {
			s.t.Fatalf("nbdkit does not come up: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// group is two disks behind two servers, a model and a relay.
type group struct {
	model   *Model
	relay   *Relay
	servers []*server
	disks   []redoubt.Disk
	dir     string
}

func newGroup(t *testing.T, seed uint64) *group {
	t.Helper()
	dir, err := os.MkdirTemp("", "oracle")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g := &group{dir: dir, disks: []redoubt.Disk{{ID: 1, Name: "a", Size: 4 << 20}, {ID: 2, Name: "b", Size: 1<<20 + 512}}}
	rng := rand.New(rand.NewPCG(seed, 1))
	var ups []Upstream
	var md []Disk
	for _, d := range g.disks {
		img, base := filepath.Join(dir, d.Name), filepath.Join(dir, d.Name+".base")
		b := make([]byte, d.Size)
		for i := range len(b) / 2 {
			b[i] = byte(rng.Uint32())
		}
		if err := errors.Join(os.WriteFile(img, b, 0o600), os.WriteFile(base, b, 0o600)); err != nil {
			t.Fatal(err)
		}
		s := startServer(t, dir, img)
		g.servers = append(g.servers, s)
		ups = append(ups, Upstream{Disk: d, Socket: s.socket})
		md = append(md, Disk{d, base})
	}
	if g.model, err = New(filepath.Join(dir, "model"), md); err != nil {
		t.Fatal(err)
	}
	if g.relay, err = NewRelay(g.model, 1, filepath.Join(dir, "r"), ups); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.relay.Close(); g.model.Close() })
	return g
}

func (g *group) clients(t *testing.T) map[redoubt.DiskID]*Client {
	t.Helper()
	cs := map[redoubt.DiskID]*Client{}
	for _, d := range g.disks {
		c, err := Dial(context.Background(), g.relay.Socket(d.Name), d.Name)
		if err != nil {
			t.Fatal(err)
		}
		if c.Size() != d.Size {
			t.Fatalf("size %d through the relay, want %d", c.Size(), d.Size)
		}
		cs[d.ID] = c
		t.Cleanup(func() { c.Close() })
	}
	return cs
}

func (g *group) state(t *testing.T, p redoubt.Position) *State {
	t.Helper()
	st, err := g.model.State()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	if err := st.Seek(p); err != nil {
		t.Fatal(err)
	}
	return st
}

const testSeed = 20260

func TestModelFollowsARealDisk(t *testing.T) {
	t.Logf("seed %d", testSeed)
	g := newGroup(t, testSeed)
	cs := g.clients(t)
	if _, err := g.model.Anchor(1, 100); err != nil {
		t.Fatal(err)
	}
	w := NewWorkload(testSeed, g.disks, DefaultMix())
	var saved [2][]byte // the images after 250 changes
	changes, middle := 0, redoubt.LSN(0)
	for i := range 600 {
		if i == 250 {
			for j, s := range g.servers {
				saved[j], _ = os.ReadFile(s.image)
			}
			middle = redoubt.LSN(100 + changes)
		}
		op := w.Next()
		if err := op.Do(cs[op.Disk.ID]); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		changes++
		if e := op.Extent; op.Kind == redoubt.KindWrite && e.Off/redoubt.MaxWriteData != (e.End()-1)/redoubt.MaxWriteData {
			changes++ // cut in two
		}
	}
	if head := g.model.Head(1); head != redoubt.LSN(100+changes) {
		t.Fatalf("the model's head is %d after %d changes from 100", head, changes)
	}
	st := g.state(t, redoubt.Position{Epoch: 1, LSN: middle})
	for j, d := range g.disks {
		h, err := st.Hash(d.ID)
		if want, _ := HashReader(bytes.NewReader(saved[j])); err != nil || h != want {
			t.Fatalf("disk %s at %d: %v %v, want %v", d.Name, middle, h, err, want)
		}
	}
	if err := st.Seek(redoubt.Position{Epoch: 1, LSN: redoubt.LSN(100 + changes)}); err != nil {
		t.Fatal(err)
	}
	for j, d := range g.disks {
		if err := st.Judge(d.ID, g.servers[j].image); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := cs[d.ID].CopyTo(&b); err != nil {
			t.Fatal(err)
		}
		want, _ := os.ReadFile(g.servers[j].image)
		if !bytes.Equal(b.Bytes(), want) {
			t.Fatalf("CopyTo of disk %s differs from the image", d.Name)
		}
	}
}

func TestJudgeSeesOneFlippedByte(t *testing.T) {
	g := newGroup(t, testSeed)
	g.model.Anchor(1, 0)
	st := g.state(t, redoubt.Position{Epoch: 1})
	img := g.servers[1].image
	if err := st.Judge(2, img); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(img)
	b[len(b)-1] ^= 1
	os.WriteFile(img, b, 0o600)
	if err := st.Judge(2, img); err == nil {
		t.Fatal("one flipped bit in the last byte was not seen")
	}
}

func TestKilledUpstreamLeavesOneUnknown(t *testing.T) {
	g := newGroup(t, testSeed)
	g.model.Anchor(1, 0)
	cs := g.clients(t)
	if err := cs[1].Write(make([]byte, 4096), 0, false); err != nil {
		t.Fatal(err)
	}
	for _, s := range g.servers {
		s.kill()
	}
	if err := cs[1].Write(make([]byte, 4096), 8192, false); err == nil {
		t.Fatal("a write to a dead server was answered")
	}
	if err := cs[2].Write(make([]byte, 4096), 0, false); err == nil {
		t.Fatal("the relay went on after its upstream was lost")
	}
	if !errors.Is(g.relay.Err(), ErrDown) {
		t.Fatalf("relay says %v, want ErrDown", g.relay.Err())
	}
	if n, _ := g.model.Count(1); n != 2 {
		t.Fatalf("%d changes recorded, want 1 and an unknown one", n)
	}
	if drift, err := g.model.Anchor(1, 1); drift != 0 || err != nil {
		t.Fatalf("drift %d, %v when the unknown change is absent", drift, err)
	}
	if n, _ := g.model.Count(1); n != 1 {
		t.Fatalf("the absent change was kept: %d", n)
	}
	if drift, _ := g.model.Anchor(1, 0); drift != -1 {
		t.Fatalf("drift %d for a lost acknowledged change, want -1", drift)
	}
	for _, s := range g.servers {
		s.start()
	}
	g.relay.Resume()
	if err := g.clients(t)[2].Write(make([]byte, 4096), 0, true); err != nil {
		t.Fatal(err)
	}
}

func TestLongWriteIsSeveralChanges(t *testing.T) {
	g := newGroup(t, testSeed)
	g.model.Anchor(1, 0)
	p := bytes.Repeat([]byte{7}, 2*redoubt.MaxWriteData+512)
	if err := g.clients(t)[1].Write(p, 512, false); err != nil {
		t.Fatal(err)
	}
	if head := g.model.Head(1); head != 3 {
		t.Fatalf("head %d, want 3", head)
	}
	st := g.state(t, redoubt.Position{Epoch: 1, LSN: 3})
	if err := st.Judge(1, g.servers[0].image); err != nil {
		t.Fatal(err)
	}
}

func TestStandardClientsPassTheRelay(t *testing.T) {
	g := newGroup(t, testSeed)
	uri := "nbd+unix:///a?socket=" + g.relay.Socket("a")
	for _, argv := range [][]string{
		{"nbdinfo", uri},
		{"nbdinfo", "--list", "nbd+unix://?socket=" + g.relay.Socket("a")},
		{"qemu-img", "compare", "-f", "raw", "-F", "raw", "nbd:unix:" + g.relay.Socket("a") + ":exportname=a", g.servers[0].image},
		{"nbdcopy", uri, filepath.Join(g.dir, "copy")},
		{"cmp", filepath.Join(g.dir, "copy"), g.servers[0].image},
	} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			t.Skipf("%s is not installed: run scripts/deps.sh", argv[0])
		}
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", argv, err, out)
		}
	}
}
