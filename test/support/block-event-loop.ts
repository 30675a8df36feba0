/** Preloaded into a daemon: SIGUSR2 makes its event loop stand still, as a bug would. */
process.on('SIGUSR2', () => {
  for (;;);
})
