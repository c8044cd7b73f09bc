package blockdev

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// The bytes are those that nbd-client's libnl makes on a little-endian host.
func TestConnectMessage(t *testing.T) {
	m := connectMessage{index: 3, size: 1 << 30, blockSize: 4096, flags: 0x16d, timeout: 30, deadTimeout: 60, fds: []int{7, 8}}
	got, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	want := "08000100" + "03000000" + // INDEX
		"0c000200" + "0000004000000000" + // SIZE_BYTES
		"0c000300" + "0010000000000000" + // BLOCK_SIZE_BYTES
		"0c000500" + "6d01000000000000" + // SERVER_FLAGS
		"0c000400" + "1e00000000000000" + // TIMEOUT
		"0c000800" + "3c00000000000000" + // DEAD_CONN_TIMEOUT
		"1c000780" + // SOCKETS
		"0c000180" + "08000100" + "07000000" +
		"0c000180" + "08000100" + "08000000"
	if hex.EncodeToString(got) != want {
		t.Errorf("encoded\n%x, want\n%s", got, want)
	}
}

func TestKernelReplies(t *testing.T) {
	b, _ := hex.DecodeString("0800010005000000")
	if n, err := decodeIndex(b); err != nil || n != 5 {
		t.Errorf("index %d, %v", n, err)
	}
	if _, err := decodeIndex(nil); err == nil {
		t.Error("an answer without an index passed")
	}
	b, _ = hex.DecodeString("2c000900" + "14000100" + "0800010000000000" + "0500020001000000" + "14000100" + "0800010001000000" + "0500020000000000")
	got, err := decodeStatus(b)
	want := []KernelDevice{{"/dev/nbd0", true}, {"/dev/nbd1", false}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("status %v, %v", got, err)
	}
}

func TestAttachWithoutKernel(t *testing.T) {
	if _, err := os.Stat("/sys/block/nbd0"); err == nil {
		t.Skip("this kernel has NBD; the test is about one that has not")
	}
	_, err := Attach(context.Background(), AttachOptions{Socket: "/nonexistent", Export: "x"})
	if !errors.Is(err, redoubt.ErrUnavailable) || redoubt.Hint(err) == "" {
		t.Errorf("attach: %v, hint %q", err, redoubt.Hint(err))
	}
	if err := Detach("/dev/nbd0"); !errors.Is(err, redoubt.ErrUnavailable) {
		t.Errorf("detach: %v", err)
	}
	if _, err := KernelDevices(); !errors.Is(err, redoubt.ErrUnavailable) {
		t.Errorf("list: %v", err)
	}
	if _, err := Attach(context.Background(), AttachOptions{Socket: "/nonexistent", Export: "x", Reconnect: true}); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("reconnect of no device: %v", err)
	}
	for _, dev := range []string{"nbd0", "/dev/sda", "/dev/nbd", "/dev/nbd-1", "/dev/nbd0p1"} {
		if err := Detach(dev); !errors.Is(err, redoubt.ErrInvalid) {
			t.Errorf("detach %q: %v", dev, err)
		}
	}
}
