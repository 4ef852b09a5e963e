import { defineConfig } from "vite";

export default defineConfig({
  // Any folder of any host will do.
  base: "./",
  // The development server must leave the package's files where they are: its worker and wasm are found next to them.
  optimizeDeps: { exclude: ["parhelion"] },
});
