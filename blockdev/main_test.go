package blockdev

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// serveEnv makes the test binary a server, for tests that kill one. Its value is
// the folder with the image "img"; journal and socket are made there.
const serveEnv = "REDOUBT_TEST_SERVE"

// Every server, connection, group and journal that a test opens must end.
func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		fmt.Fprintln(os.Stderr, serveForEver(dir))
		os.Exit(1)
	}
	if sock := os.Getenv(crowdEnv); sock != "" {
		fmt.Fprintln(os.Stderr, crowd(sock))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func openSite(dir string) (*rig, error) {
	im, err := OpenImage(dir+"/img", 0)
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(dir+"/journal", journal.Options{SegmentSize: 4 << 20, MaxBytes: 64 << 20, Start: redoubt.Position{Epoch: 1}, Create: true})
	if err != nil {
		return nil, err
	}
	g, err := OpenGroup(j, []Member{{redoubt.Disk{ID: 1, Name: "d1", Size: im.Size()}, im}},
		GroupOptions{ApplyInterval: 20 * time.Millisecond, FullWait: time.Minute})
	return &rig{j: j, g: g}, err
}

func serveForEver(dir string) error {
	r, err := openSite(dir)
	if err != nil {
		return err
	}
	s := NewServer(ServerOptions{})
	if err := s.Add(Export{Name: "d1", Volume: r.g.Volumes()[0]}); err != nil {
		return err
	}
	l, err := ListenUnix(dir + "/s")
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return s.Serve(l)
}
