import { defineConfig } from "vite";

// Any folder of any host will do; the package itself needs no configuration.
export default defineConfig({ base: "./" });
