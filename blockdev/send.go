package blockdev

// sendPiece is the most bytes given to one write: the watch looks for progress
// between them.
const sendPiece = 1 << 20

// write sends a whole answer, from any goroutine.
func (c *conn) write(b []byte) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	return c.push(b)
}

// push sends b. The caller holds c.sendMu.
func (c *conn) push(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), sendPiece)
		c.pulse.sent.Add(pulseBusy)
		_, err := c.nc.Write(b[:n])
		c.pulse.sent.Add(pulseCount - pulseBusy)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
