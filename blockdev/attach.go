package blockdev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// AttachOptions says which export becomes which kernel device.
type AttachOptions struct {
	Device string // such as "/dev/nbd0"; empty: the kernel chooses a free one
	Socket string // path of the server's unix socket
	// Dial connects to the server instead of Socket, once per connection. The
	// connections must be plain sockets (unix or TCP).
	Dial        func(ctx context.Context) (net.Conn, error)
	Export      string
	Connections int // default 1; more need a server with CAN_MULTI_CONN
	BlockSize   int // bytes, default 4096
	// Timeout is how long the kernel waits for an answer before it gives the
	// connection up. Default 0: for ever, but then a request that was on its way when
	// the only connection was lost is not sent again after a reconnection.
	Timeout time.Duration
	// DeadTimeout is how long requests wait for a reconnection after the last
	// connection was lost, before they fail. Default 0: not at all.
	DeadTimeout time.Duration
	// Reconnect replaces the connections that Device has lost; with none lost it
	// changes nothing. The device, its users and their requests stay, and so do its
	// timeouts where those here are 0. Requests that were on their way are sent
	// again when the device's Timeout is over.
	Reconnect bool
}

// KernelDevice is an NBD device of this host's kernel.
type KernelDevice struct {
	Path      string `json:"path"`
	Connected bool   `json:"connected"`
}

// Attach connects to an export and hands the connections to the kernel, with
// the server's flags, so that the kernel sends flush, FUA, trim and zeroing and
// uses all connections. It returns the path of the device. It needs root.
// Errors wrap redoubt.ErrUnavailable where the kernel has no NBD,
// redoubt.ErrState if the device is in use, redoubt.ErrDenied without privilege.
func Attach(ctx context.Context, o AttachOptions) (dev string, err error) {
	m := connectMessage{index: -1, blockSize: 4096, timeout: seconds(o.Timeout), deadTimeout: seconds(o.DeadTimeout)}
	if o.BlockSize > 0 {
		m.blockSize = uint64(o.BlockSize)
	}
	if o.Device != "" {
		if m.index, err = deviceIndex(o.Device); err != nil {
			return "", err
		}
	}
	command := uint8(nlConnect)
	if o.Reconnect {
		if command = nlReconnect; o.Device == "" {
			return "", &redoubt.Error{Op: "reconnect", Object: o.Export, Err: redoubt.ErrInvalid, Hint: "say which device has lost its connection"}
		}
	}
	nl, family, err := dialKernel()
	if err != nil {
		return "", err
	}
	defer nl.Close()

	for i := range max(o.Connections, 1) {
		f, got, err := o.connect(ctx)
		if err != nil {
			return "", err
		}
		defer f.Close() // the kernel holds the socket by itself
		if i > 0 && (got.flags&flagMultiConn == 0 || got.size != m.size) {
			return "", &redoubt.Error{Op: "attach", Object: o.Export, Err: fmt.Errorf("server does not allow several connections: %w", redoubt.ErrInvalid)}
		}
		m.size, m.flags, m.fds = got.size, got.flags, append(m.fds, int(f.Fd()))
	}
	data, err := m.encode()
	if err != nil {
		return "", &redoubt.Error{Op: "attach", Object: o.Export, Err: err}
	}
	replies, err := nl.Execute(genetlink.Message{Header: genetlink.Header{Command: command, Version: nlVersion}, Data: data},
		family.ID, netlink.Request|netlink.Acknowledge)
	if err != nil {
		return "", kernelError("attach", o.Device, err)
	}
	if m.index < 0 {
		for _, r := range replies {
			if m.index, err = decodeIndex(r.Data); err == nil {
				break
			}
		}
		if m.index < 0 {
			return "", &redoubt.Error{Op: "attach", Object: o.Export, Err: errors.New("the kernel did not say which device it chose")}
		}
	}
	return devicePath(m.index), nil
}

// connect negotiates one connection and returns its socket.
func (o *AttachOptions) connect(ctx context.Context) (*os.File, agreed, error) {
	dial := o.Dial
	if dial == nil {
		dial = func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", o.Socket)
		}
	}
	nc, err := dial(ctx)
	if err != nil {
		return nil, agreed{}, &redoubt.Error{Op: "connect to export", Object: o.Export, Err: err, Hint: "is redoubtd running, and its NBD socket where you say?"}
	}
	defer nc.Close()
	if t, ok := ctx.Deadline(); ok {
		nc.SetDeadline(t)
	}
	got, err := negotiate(nc, o.Export)
	if err != nil {
		return nil, agreed{}, err
	}
	sock, ok := nc.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, agreed{}, &redoubt.Error{Op: "attach", Object: o.Export, Err: fmt.Errorf("%T is no plain socket: %w", nc, redoubt.ErrInvalid)}
	}
	f, err := sock.File()
	return f, got, err
}

// Detach disconnects a device. Its last writes are the kernel's matter: unmount first.
func Detach(dev string) error {
	index, err := deviceIndex(dev)
	if err != nil {
		return err
	}
	nl, family, err := dialKernel()
	if err != nil {
		return err
	}
	defer nl.Close()
	data, err := encodeIndex(index)
	if err != nil {
		return err
	}
	_, err = nl.Execute(genetlink.Message{Header: genetlink.Header{Command: nlDisconnect, Version: nlVersion}, Data: data},
		family.ID, netlink.Request|netlink.Acknowledge)
	return kernelError("detach", dev, err)
}

// KernelDevices lists the kernel's NBD devices.
func KernelDevices() ([]KernelDevice, error) {
	nl, family, err := dialKernel()
	if err != nil {
		return nil, err
	}
	defer nl.Close()
	replies, err := nl.Execute(genetlink.Message{Header: genetlink.Header{Command: nlStatus, Version: nlVersion}},
		family.ID, netlink.Request)
	if err != nil {
		return nil, kernelError("list NBD devices", "", err)
	}
	var out []KernelDevice
	for _, r := range replies {
		ds, err := decodeStatus(r.Data)
		if err != nil {
			return nil, &redoubt.Error{Op: "list NBD devices", Err: err}
		}
		out = append(out, ds...)
	}
	return out, nil
}

func dialKernel() (*genetlink.Conn, genetlink.Family, error) {
	unavailable := func(err error) error {
		return &redoubt.Error{Op: "reach the kernel's NBD", Err: fmt.Errorf("%w: %w", redoubt.ErrUnavailable, err),
			Hint: "this kernel has no NBD driver loaded: try \"modprobe nbd\"; without it use the export's socket directly (qemu, nbdfuse, libnbd)"}
	}
	nl, err := genetlink.Dial(nil)
	if err != nil {
		return nil, genetlink.Family{}, unavailable(err)
	}
	family, err := nl.GetFamily(nlFamily)
	if err != nil {
		nl.Close()
		return nil, genetlink.Family{}, unavailable(err)
	}
	return nl, family, nil
}

func kernelError(op, dev string, err error) error {
	e := &redoubt.Error{Op: op, Object: dev, Err: err}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		e.Err, e.Hint = fmt.Errorf("%w: %w", redoubt.ErrDenied, err), "the kernel wants root (CAP_SYS_ADMIN) for that"
	case errors.Is(err, unix.EBUSY):
		e.Err, e.Hint = fmt.Errorf("%w: %w", redoubt.ErrState, err), "the device is in use; detach it, or let the kernel choose one"
	case errors.Is(err, unix.ENOSPC):
		e.Err, e.Hint = fmt.Errorf("%w: %w", redoubt.ErrState, err), "no connection of the device was lost, there is nothing to replace"
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV):
		e.Err = fmt.Errorf("%w: %w", redoubt.ErrNotFound, err)
	}
	return e
}

func devicePath(index int) string { return "/dev/nbd" + strconv.Itoa(index) }

func deviceIndex(dev string) (int, error) {
	s, ok := strings.CutPrefix(dev, "/dev/nbd")
	n, err := strconv.ParseUint(s, 10, 20)
	if !ok || err != nil {
		return 0, &redoubt.Error{Op: "check device", Object: dev, Hint: "a device is /dev/nbd0, /dev/nbd1 and so on", Err: redoubt.ErrInvalid}
	}
	return int(n), nil
}

// seconds rounds up, because 0 has another meaning.
func seconds(d time.Duration) uint64 { return uint64((d + time.Second - 1) / time.Second) }
