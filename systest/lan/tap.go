package lan

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

const tunDevice = "/dev/net/tun"

// openTap makes an Ethernet interface of this name and returns its other end:
// each read is a frame that the interface sends, each write one that it receives.
func openTap(name string) (*os.File, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", tunDevice, err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make interface %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Count is what the kernel has counted at a host's interface, Ethernet headers
// included.
type Count struct {
	Received, Sent             uint64 // bytes
	FramesReceived, FramesSent uint64
}

// Count reads the counters of the host's interface.
func (h *Host) Count() (Count, error) {
	out, err := exec.Command("ip", "-n", h.ns, "-s", "-j", "link", "show", "eth0").Output()
	if err != nil {
		return Count{}, fmt.Errorf("count at %s: %w", h.Addr, err)
	}
	var links []struct {
		Stats struct {
			RX, TX struct{ Bytes, Packets uint64 }
		} `json:"stats64"`
	}
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		return Count{}, fmt.Errorf("count at %s: %w: %s", h.Addr, errors.Join(err, errors.New("not one interface")), out)
	}
	s := links[0].Stats
	return Count{s.RX.Bytes, s.TX.Bytes, s.RX.Packets, s.TX.Packets}, nil
}
