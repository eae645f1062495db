/* SPDX-License-Identifier: Apache-2.0 */
/* engine_printing.h - documents on their way to a printer (print_scan.h) as an engine: what reaches
 * for the device blocks (CAUSE_INFECTED), what drivers of printers do every day is a note, a PDF
 * that is encrypted is not inspected, and scan_result.pages says how long the document is. */
#ifndef WORKER_ENGINE_PRINTING_H
#define WORKER_ENGINE_PRINTING_H

#include "worker/engine.h"

/* Appends "printing 1", the version of print_scan.h, to |describe|. Needs nothing and keeps
 * nothing. */
struct engine engine_printing(struct buf *describe);

#endif
