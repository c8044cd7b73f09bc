package systest

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/systest/guest"
)

// The kernel's own client outlives the daemon: a planned restart hands its
// connection over, and after kill -9 it gets a new one. Whoever writes to the
// device waits and sees no error.
func TestKernelClientReconnects(t *testing.T) {
	b := newGuestBed(t)
	attach := fmt.Sprintf("redoubt disk attach nbd://%s:%s/b --device /dev/nbd1", guest.Host, b.port)
	b.guest(attach + " --io-timeout 10s")
	b.guest("/sbin/mke2fs -q -t ext4 /dev/nbd1")
	b.mount("b", "nbd1")
	b.guest(b.numbers("b", "early"))
	b.guest(`(n=0; while [ ! -e /tmp/stop ]; do n=$((n+1)); seq $n $((n+2000)) | dd of=/mnt/b/f$((n%8)) conv=fsync 2>/dev/null || echo $n >>/tmp/failed; echo $n >/tmp/n.new; mv /tmp/n.new /tmp/n; done; touch /tmp/stopped) </dev/null >/dev/null 2>&1 &`)
	b.progress()

	b.must(b.site.Source.Signal(syscall.SIGHUP))
	b.progress()
	b.guest(attach + " --reconnect") // nothing is lost: nothing changes
	b.progress()
	for range 2 {
		b.site.Source.Kill()
		b.guest("sleep 2") // the writer runs into it
		b.must(b.site.Source.Start())
		b.serving()
		b.guest(attach + " --reconnect")
		b.progress()
	}

	b.guest("touch /tmp/stop")
	for b.guest("ls /tmp | grep -c stopped || true") != "1\n" {
		b.guest("sleep 1")
	}
	b.guest(b.numbers("b", "late"))
	if failed := b.guest("cat /tmp/failed 2>/dev/null || true"); failed != "" {
		b.Errorf("writes failed: %s", strings.Fields(failed))
	}
	b.guest("umount /mnt/b && redoubt disk detach /dev/nbd1")
	b.powerCut()
	b.judgeDisk("b")
}

// progress waits until the guest's writer has synced two more files.
func (b *guestBed) progress() {
	b.Helper()
	at := func() int {
		n, _ := strconv.Atoi(strings.TrimSpace(b.guest("cat /tmp/n 2>/dev/null || true")))
		return n
	}
	begun := time.Now()
	for first := at(); at() < first+2; b.guest("sleep 1") {
		if time.Since(begun) > 2*time.Minute {
			b.Fatalf("the guest's writer stands still at %d\n%s", at(), b.vm.Console())
		}
	}
	b.Logf("the writer goes on after %s", time.Since(begun).Round(time.Second))
}
