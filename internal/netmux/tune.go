package netmux

import (
	"net"
	"syscall"
	"time"
)

const (
	// userTimeout is how long sent data may stay unacknowledged by the peer's
	// kernel before the connection fails (TCP_USER_TIMEOUT, RFC 5482).
	userTimeout    = 10 * time.Second
	tcpUserTimeout = 0x12 // of linux/tcp.h; package syscall does not name it
)

func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}
}

// tune sets the user timeout. A kernel without it is no reason to fail: the
// protocols above have heartbeats of their own.
func tune(c net.Conn) {
	tc, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tc.SetKeepAliveConfig(keepAlive())
	raw, err := tc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(userTimeout/time.Millisecond))
	})
}
