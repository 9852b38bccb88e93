"""The web application: pages, and the interface that they use."""

import math
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from posebridge.data.frames import SIDES, Side
from posebridge.data.target_config import DetectorChoice
from posebridge.deployment.crop_predictor import CropPredictor
from posebridge.deployment.detections import SubjectDetector
from posebridge.deployment.shipped_models import model_path
from posebridge.errors import InputError
from posebridge.serve.adaptation import POSEBRIDGE, Adaptation, model_zip
from posebridge.serve.config import ServeConfig
from posebridge.serve.frame_prediction import FrameOptions, FramePredictor
from posebridge.serve.guard import Guard
from posebridge.serve.predictions import Predictions, Worker, poses_json, poses_npz
from posebridge.serve.skeleton_view import skeleton_json
from posebridge.serve.uploads import Media, RefusedError, UploadLimits, receive_file, recognise

_STATIC = Path(__file__).parent / "static"
_CAMERA_FRAME = UploadLimits(mb=8, seconds=10)  # a JPEG of 4K; the page sends at most 1280 pixels
# A report has no scripts, and styles within the page.
_REPORT_CSP = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


@dataclass
class Service:
    """What the requests work on. Each handler answers one route of ``routes``."""

    config: ServeConfig
    predictions: Predictions
    adaptation: Adaptation
    folder: Path  # of uploads
    limits: UploadLimits = field(init=False)

    def __post_init__(self):
        self.limits = UploadLimits(self.config.max_upload_mb, self.config.max_upload_s)

    def routes(self) -> list[Route | Mount]:
        """Pages, files, and the interface below ``/api``."""
        return [
            Route("/", self.predict_page),
            Route("/adapt", self.adapt_page),
            Mount("/static", StaticFiles(directory=_STATIC)),
            Route("/api/model", self.model),
            Route("/api/predictions", self.predict, methods=["POST"]),
            Route("/api/predictions/{id}", self.prediction),
            Route("/api/predictions/{id}", self.cancel_prediction, methods=["DELETE"]),
            Route("/api/predictions/{id}/predictions.npz", self.predictions_npz),
            Route("/api/predictions/{id}/predictions.json", self.predictions_json),
            Route("/api/cameras", self.start_camera, methods=["POST"]),
            Route("/api/cameras/{id}/frames", self.camera_frame, methods=["POST"]),
            Route("/api/adaptation", self.adaptation_state),
            Route("/api/adaptation", self.start_adaptation, methods=["POST"]),
            Route("/api/adaptation", self.cancel_adaptation, methods=["DELETE"]),
            Route("/api/adaptation/files", self.add_footage, methods=["POST"]),
            Route("/api/adaptation/files", self.remove_footage, methods=["DELETE"]),
            Route("/api/adaptation/report", self.report),
            Route("/api/adaptation/model.zip", self.model_file),
        ]

    async def predict_page(self, request: Request) -> Response:
        """The first page."""
        return FileResponse(_STATIC / "predict.html")

    async def adapt_page(self, request: Request) -> Response:
        """The second page."""
        return FileResponse(_STATIC / "adapt.html")

    async def model(self, request: Request) -> Response:
        """The served model, its skeleton, and the limits of uploads."""
        predictor = self.predictions.worker.predictor
        return JSONResponse(
            {
                "name": self.config.model_name,
                "skeleton": skeleton_json(predictor.skeleton),
                "subject": "hand" if predictor.is_hand else "person",
                "size": predictor.predictor.size_px,
                "detects": predictor.detector is not None,
                "max_upload_mb": self.config.max_upload_mb,
            }
        )

    async def predict(self, request: Request) -> Response:
        """Predict an uploaded image, or start with a video."""
        options = _options(request)
        file, media = await self._upload(request)
        if media.kind == "video":
            prediction = self.predictions.video(file, options)
        else:
            prediction = await self.predictions.image(file, options)
        return _json_text(prediction.as_json(0))

    async def prediction(self, request: Request) -> Response:
        """State of a prediction, and its frames from number ``since`` on."""
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            raise RefusedError("since is the number of a frame", 400)
        return _json_text(self.predictions.find(request.path_params["id"]).as_json(int(since)))

    async def cancel_prediction(self, request: Request) -> Response:
        """End a video or a camera."""
        await self.predictions.cancel(request.path_params["id"])
        return JSONResponse({})

    async def predictions_npz(self, request: Request) -> Response:
        """``predictions.npz``."""
        poses = self.predictions.find(request.path_params["id"]).poses()
        content = await anyio.to_thread.run_sync(poses_npz, poses, self.folder)
        return _download(content, "predictions.npz", "application/octet-stream")

    async def predictions_json(self, request: Request) -> Response:
        """The same as JSON."""
        prediction = self.predictions.find(request.path_params["id"])
        model, skipped = self.config.model_name, dict(prediction.skipped)
        content = await anyio.to_thread.run_sync(poses_json, prediction.poses(), model, skipped)
        return _download(content, "predictions.json", "application/json")

    async def start_camera(self, request: Request) -> Response:
        """Begin with a camera."""
        return _json_text(self.predictions.camera(_options(request)).as_json(0))

    async def camera_frame(self, request: Request) -> Response:
        """Predict one frame of a camera."""
        options = _options(request)
        file = self._new_file()
        await receive_file(request, file, _CAMERA_FRAME)
        poses = await self.predictions.camera_frame(request.path_params["id"], file, options)
        return _json_text(poses.json_text)

    async def adaptation_state(self, request: Request) -> Response:
        """Uploads and run."""
        return JSONResponse(self.adaptation.as_json())

    async def start_adaptation(self, request: Request) -> Response:
        """Start a run on the uploads."""
        method, hand = request.query_params.get("method", ""), request.query_params.get("hand")
        await self.adaptation.start(method, hand)
        return JSONResponse(self.adaptation.as_json())

    async def cancel_adaptation(self, request: Request) -> Response:
        """End the run."""
        await self.adaptation.cancel()
        return JSONResponse(self.adaptation.as_json())

    async def add_footage(self, request: Request) -> Response:
        """Take a file for the next run."""
        declared = request.headers.get("content-length", "0")
        self.adaptation.check_room(int(declared) if declared.isdecimal() else 0)
        file, media = await self._upload(request)
        try:
            self.adaptation.add(file, media)
        finally:
            file.unlink(missing_ok=True)
        return JSONResponse(self.adaptation.as_json())

    async def remove_footage(self, request: Request) -> Response:
        """Remove the files for the next run."""
        self.adaptation.clear()
        return JSONResponse(self.adaptation.as_json())

    async def report(self, request: Request) -> Response:
        """``report.html`` of the finished run."""
        return FileResponse(
            self.adaptation.results().report,
            media_type="text/html",
            headers={"Content-Security-Policy": _REPORT_CSP},
        )

    async def model_file(self, request: Request) -> Response:
        """The adapted model as a ZIP file."""
        layout = self.adaptation.results()
        file = layout.folder.parent / "model.zip"
        if not file.exists():
            await anyio.to_thread.run_sync(model_zip, layout, file)
        return FileResponse(file, filename="model.zip")

    async def _upload(self, request: Request) -> tuple[Path, Media]:
        """The uploaded file under a name of ours, and what it holds. It is removed where it is refused."""
        file = self._new_file()
        await receive_file(request, file, self.limits)
        try:
            media = await anyio.to_thread.run_sync(recognise, file)
            return file.replace(file.with_suffix(media.suffix)), media
        except BaseException:
            file.unlink(missing_ok=True)
            raise

    def _new_file(self) -> Path:
        return self.folder / f"upload-{secrets.token_hex(8)}"


def build_app(
    config: ServeConfig,
    predictor: CropPredictor,
    folder: Path,
    detector: SubjectDetector | None = None,
    command: Sequence[str] = POSEBRIDGE,
) -> Starlette:
    """The application.

    folder: of uploads and runs.
    detector: finds the subjects of whole pictures. None: a picture, or the box drawn in it, shows one subject.
    command: starts posebridge for an adaptation.
    """
    frames = FramePredictor(predictor, config.padding, config.min_confidence, detector)
    service = Service(
        config,
        Predictions(Worker(frames), config.max_video_frames),
        Adaptation(
            folder,
            model_path(config.model).absolute(),
            frames.is_hand,
            config.max_upload_mb,
            _absolute(config.detector),
            command,
        ),
        folder,
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await service.predictions.close()
        await service.adaptation.cancel()

    app = Starlette(
        routes=service.routes(),
        middleware=[Middleware(Guard)],
        exception_handlers={InputError: _refuse},
        lifespan=lifespan,
    )
    app.state.adaptation = service.adaptation
    return app


def _absolute(detector: DetectorChoice) -> DetectorChoice:
    return detector.absolute() if isinstance(detector, Path) else detector


async def _refuse(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, RefusedError) else 400
    return JSONResponse({"error": str(error)}, status_code=status)


def _options(request: Request) -> FrameOptions:
    """``hand`` and ``box`` of a request's query. Raises ``RefusedError`` for other values."""
    hand, box = request.query_params.get("hand"), request.query_params.get("box")
    by_name: dict[str | None, Side] = {side: side for side in SIDES}
    side = by_name.get(hand)
    if hand is not None and side is None:
        raise RefusedError("hand is left or right", 400)
    if box is None:
        return FrameOptions(side)
    try:
        x0, y0, x1, y1 = map(float, box.split(","))
    except ValueError:
        raise RefusedError("box is four numbers x0,y0,x1,y1 in pixels", 400) from None
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        raise RefusedError("box is four finite numbers", 400)
    return FrameOptions(side, (x0, y0, x1, y1))


def _json_text(text: str) -> Response:
    return Response(text, media_type="application/json")


def _download(content: bytes, name: str, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
